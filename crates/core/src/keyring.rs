//! The key ring: the secrets that session ids and other tokens are sealed with.
//!
//! Rotation: add the new key to every process's ring (accept only), then mark
//! it `mint`, then drop the old one once the longest token lifetime has passed.

use std::fmt::{self, Write as _};

use hkdf::Hkdf;
use sha2::Sha256;
use thiserror::Error;

#[cfg(test)]
mod tests;

/// Separates fingerprints, which are no secret, from all else that is derived from a key.
const FINGERPRINT_DOMAIN: &[u8] = b"hexagram fingerprint 1 ";

/// 1..=8 keys: the first mints, all of them open. `Debug` shows ids only.
///
/// As text: one key per line, `<id 0..=255> <64 hex digits>`; `#` starts a
/// comment. A line that ends in the word `mint` counts as the first.
///
/// ```
/// use hexagram_core::KeyRing;
/// let old = KeyRing::generate(1, [0xaa; 32]);
/// let new = KeyRing::generate(2, [0xbb; 32]);
/// let ring = KeyRing::parse(&(new.to_text() + "# until tomorrow\n" + &old.to_text()))?;
/// assert_eq!(format!("{ring:?}"), "KeyRing([2, 1])");
/// # Ok::<(), hexagram_core::KeyRingError>(())
/// ```
#[derive(Clone)]
pub struct KeyRing(Vec<RingKey>);

#[derive(Clone)]
pub(crate) struct RingKey {
    pub(crate) id: u8,
    secret: [u8; 32],
}

impl RingKey {
    /// Bytes for one use of the key; they tell nothing about those of another.
    pub(crate) fn derive<const N: usize>(&self, usage: &[&[u8]]) -> [u8; N] {
        let mut derived = [0; N];
        Hkdf::<Sha256>::new(None, &self.secret)
            .expand_multi_info(usage, &mut derived)
            .expect("a few bytes are within the 8160 that HKDF-SHA256 gives");
        derived
    }

    /// The id is part of it: a token names its key by id.
    pub(crate) fn fingerprint(&self) -> u64 {
        u64::from_be_bytes(self.derive(&[FINGERPRINT_DOMAIN, &[self.id]]))
    }
}

/// A text that is no key ring. Never shows what the text holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyRingError {
    /// No line holds a key.
    #[error("the key ring is empty: add a line `<id 0..=255> <64 hex digits>`")]
    Empty,
    /// One line is wrong.
    #[error("key ring line {line}: {problem}")]
    Line {
        /// The line's number, from 1.
        line: usize,
        /// What is wrong with it.
        problem: LineProblem,
    },
}

/// What is wrong with one line of a key ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LineProblem {
    /// Not two words, nor three with `mint` last.
    #[error("expected `<id 0..=255> <64 hex digits>`, optionally followed by `mint`")]
    Shape,
    /// The first word is no id.
    #[error("the id is not a number from 0 to 255")]
    Id,
    /// The second word is no key.
    #[error("the key is not 64 hex digits (32 bytes)")]
    Secret,
    /// An earlier line has the same id.
    #[error("an earlier line has this id: give every key its own")]
    DuplicateId,
    /// An earlier line is marked too.
    #[error("an earlier line is marked `mint`: mark only one")]
    SecondMint,
    /// More keys than a ring holds.
    #[error("a ring holds at most 8 keys: drop those whose tokens have expired")]
    TooMany,
}

impl KeyRing {
    /// So many keys fit into a ring.
    pub const MAX_KEYS: usize = 8;

    /// Reads the text form.
    ///
    /// # Errors
    /// The first wrong line by its number, or that there is no key at all. The
    /// error never holds key material.
    pub fn parse(text: &str) -> Result<Self, KeyRingError> {
        let mut draft = Draft::default();
        for (line, content) in (1..).zip(text.lines()) {
            draft
                .add(content)
                .map_err(|problem| KeyRingError::Line { line, problem })?;
        }
        draft.finish()
    }

    /// A ring of one new key; `entropy` is 32 bytes from the system's generator.
    #[must_use]
    pub fn generate(id: u8, entropy: [u8; 32]) -> Self {
        let secret = entropy;
        Self(vec![RingKey { id, secret }])
    }

    /// The text form, **with the keys in the clear**, the minting key first.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.0.iter().map(RingKey::to_line).collect()
    }

    /// A number for each key, as of [`Sealer::fingerprints`](crate::Sealer::fingerprints).
    #[must_use]
    pub fn fingerprints(&self) -> Vec<u64> {
        self.0.iter().map(RingKey::fingerprint).collect()
    }

    /// With one more key, which only opens; `entropy` as for [`Self::generate`]. `None`
    /// where the ring is full.
    #[must_use]
    pub fn with_another(&self, entropy: [u8; 32]) -> Option<Self> {
        if self.0.len() == Self::MAX_KEYS {
            return None;
        }
        // Not the id of a key that was dropped just now.
        let after = |step| self.0[0].id.wrapping_add(step);
        let is_free = |id: &u8| self.0.iter().all(|key| key.id != *id);
        let id = (1..=u8::MAX).map(after).find(is_free)?;
        let mut keys = self.0.clone();
        keys.push(RingKey {
            id,
            secret: entropy,
        });
        Some(Self(keys))
    }

    /// With the key of this fingerprint minting, where there is one.
    #[must_use]
    pub fn minting(mut self, key: u64) -> Self {
        if let Some(place) = self.0.iter().position(|known| known.fingerprint() == key) {
            self.0[..=place].rotate_right(1);
        }
        self
    }

    /// Without the key of this fingerprint; the one that mints stays.
    #[must_use]
    pub fn without(self, key: u64) -> Self {
        let mut keys = self.0.into_iter();
        let minting = keys.next();
        let others = keys.filter(|known| known.fingerprint() != key);
        Self(minting.into_iter().chain(others).collect())
    }

    /// The keys, the minting one first; never empty.
    pub(crate) fn keys(&self) -> &[RingKey] {
        &self.0
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<u8> = self.0.iter().map(|key| key.id).collect();
        write!(f, "KeyRing({ids:?})")
    }
}

impl RingKey {
    fn to_line(&self) -> String {
        let mut line = format!("{} ", self.id);
        for byte in self.secret {
            // Writing to a String cannot fail.
            let _ = write!(line, "{byte:02x}");
        }
        line + "\n"
    }
}

/// A ring while its text is read.
#[derive(Default)]
struct Draft {
    keys: Vec<RingKey>,
    marked: Option<usize>,
}

impl Draft {
    fn add(&mut self, line: &str) -> Result<(), LineProblem> {
        let line = line.split_once('#').map_or(line, |(content, _)| content);
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [] => Ok(()),
            [id, secret] => self.add_key(id, secret),
            [id, secret, "mint"] => {
                self.mark()?;
                self.add_key(id, secret)
            }
            _ => Err(LineProblem::Shape),
        }
    }

    fn mark(&mut self) -> Result<(), LineProblem> {
        match self.marked.replace(self.keys.len()) {
            None => Ok(()),
            Some(_) => Err(LineProblem::SecondMint),
        }
    }

    fn add_key(&mut self, id: &str, secret: &str) -> Result<(), LineProblem> {
        let id = id.parse().map_err(|_| LineProblem::Id)?;
        let secret = parse_secret(secret).ok_or(LineProblem::Secret)?;
        if self.keys.iter().any(|key| key.id == id) {
            return Err(LineProblem::DuplicateId);
        }
        if self.keys.len() == KeyRing::MAX_KEYS {
            return Err(LineProblem::TooMany);
        }
        self.keys.push(RingKey { id, secret });
        Ok(())
    }

    fn finish(mut self) -> Result<KeyRing, KeyRingError> {
        if self.keys.is_empty() {
            return Err(KeyRingError::Empty);
        }
        if let Some(place) = self.marked {
            self.keys[..=place].rotate_right(1);
        }
        Ok(KeyRing(self.keys))
    }
}

fn parse_secret(hex: &str) -> Option<[u8; 32]> {
    let mut secret = [0; 32];
    if hex.len() != 2 * secret.len() {
        return None;
    }
    for (byte, pair) in secret.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(secret)
}

fn nibble(digit: u8) -> Option<u8> {
    // A hex digit is below 16.
    char::from(digit).to_digit(16).map(|value| value as u8)
}
