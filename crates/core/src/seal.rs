//! Sealed tokens: what a client keeps for us and cannot read, change or forge.
//!
//! A token is base64url without padding of
//!
//! ```text
//! format 1 | key id 1 | nonce 24 | XChaCha20-Poly1305 ciphertext and tag
//! ```
//!
//! Associated data are the format, key id, cluster id and purpose, and every
//! purpose has a key of its own, so a token opens only where it was meant to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305};
use thiserror::Error;

use crate::keyring::RingKey;
use crate::{ClaimsError, KeyRing, SessionClaims};

#[cfg(test)]
mod tests;

const FORMAT: u8 = 1;
const NONCE: usize = 24;
const TAG: usize = 16;

/// Separates these keys from all others that may be derived from the ring.
const KEY_DOMAIN: &[u8] = b"hexagram seal 1 ";

/// The longest session token, in characters (DESIGN section 4).
const SESSION_LIMIT: usize = 255;

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A legacy session's id.
    Session,
    /// An SSE event's id.
    Event,
    /// The request state of a multi-round-trip result.
    RequestState,
    /// A task's id.
    Task,
}

/// A token that does not open. For the client all of these are one answer:
/// 404. The difference is for logs and metrics.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SealError {
    /// Not canonical base64url, or a length that no token has.
    #[error("the token is malformed: it was damaged, or was never one of ours")]
    Malformed,
    /// Another format, from another release.
    #[error("the token's format {0} is unknown here: finish the upgrade of every process")]
    UnknownFormat(u8),
    /// A key that is not in the ring.
    #[error("the token's key {0} is not in the ring: it was dropped, or has not arrived here yet")]
    UnknownKey(u8),
    /// Changed, or sealed with another key, for another cluster or purpose.
    #[error("the token is forged, or was sealed for another cluster or purpose")]
    Forged,
    /// A genuine token with contents that this release cannot read.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
}

/// Seals and opens tokens for one cluster with the keys of one ring, which may be another
/// one later.
///
/// ```
/// use hexagram_core::{KeyRing, Purpose, SealError, Sealer};
/// let sealer = Sealer::new(&KeyRing::generate(1, [7; 32]), "prod");
/// let token = sealer.seal(Purpose::Task, [0; 24], b"task 9");
/// assert_eq!(sealer.open(Purpose::Task, &token)?, b"task 9");
/// assert_eq!(sealer.open(Purpose::Event, &token), Err(SealError::Forged));
/// # Ok::<(), SealError>(())
/// ```
#[derive(Debug)]
pub struct Sealer {
    cluster: String,
    // Swapped as a whole: nobody seals with half of a ring.
    keys: ArcSwap<Vec<SealKey>>,
    /// Counts the rings.
    rings: AtomicU64,
}

/// One ring key, made ready for each purpose.
#[derive(Debug)]
struct SealKey {
    id: u8,
    fingerprint: u64,
    locks: [Lock; Purpose::ALL.len()],
}

/// One ring key for one purpose.
#[derive(Debug)]
struct Lock {
    cipher: XChaCha20Poly1305,
    associated: Vec<u8>,
}

impl Purpose {
    const ALL: [Self; 4] = [Self::Session, Self::Event, Self::RequestState, Self::Task];

    /// Part of the token format: never reused.
    const fn code(self) -> u8 {
        match self {
            Self::Session => 1,
            Self::Event => 2,
            Self::RequestState => 3,
            Self::Task => 4,
        }
    }

    const fn index(self) -> usize {
        self.code() as usize - 1
    }
}

impl Sealer {
    /// Derives every key once, so that sealing and opening are cheap. `cluster`
    /// is the cluster's id: another cluster with the same ring opens nothing.
    #[must_use]
    pub fn new(ring: &KeyRing, cluster: &str) -> Self {
        Self {
            cluster: cluster.to_owned(),
            keys: ArcSwap::from_pointee(ready(ring, cluster)),
            rings: AtomicU64::new(0),
        }
    }

    /// Seals and opens with the keys of `ring` from now on, everywhere at once.
    pub fn take(&self, ring: &KeyRing) {
        self.keys.store(Arc::new(ready(ring, &self.cluster)));
        self.rings.fetch_add(1, Ordering::Release);
    }

    /// How often another ring was taken. Who keeps what a token said asks again once this is
    /// another number than before it was opened: its key may be dropped.
    #[must_use]
    pub fn rings(&self) -> u64 {
        self.rings.load(Ordering::Acquire)
    }

    /// A number for each key of the ring, the minting one first, by which
    /// processes find out whether they hold the same. It gives no key away.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<u64> {
        self.keys.load().iter().map(|key| key.fingerprint).collect()
    }

    /// Seals `plain` with the minting key. `nonce` must be 24 random bytes,
    /// fresh for every call: reusing one gives away both messages.
    ///
    /// # Panics
    /// If `plain` exceeds the cipher's limit of 256 GiB.
    #[must_use]
    pub fn seal(&self, purpose: Purpose, nonce: [u8; NONCE], plain: &[u8]) -> String {
        let keys = self.keys.load();
        let key = &keys[0];
        let mut token = vec![FORMAT, key.id];
        token.extend(nonce);
        token.extend(key.lock(purpose).encrypt(nonce, plain));
        URL_SAFE_NO_PAD.encode(token)
    }

    /// Opens what [`seal`](Self::seal) sealed for this purpose and cluster with
    /// a key that is still in the ring. Does not limit the token's length.
    ///
    /// # Errors
    /// Why the token does not open; nothing of its contents is revealed.
    pub fn open(&self, purpose: Purpose, token: &str) -> Result<Vec<u8>, SealError> {
        let token = URL_SAFE_NO_PAD
            .decode(token)
            .map_err(|_| SealError::Malformed)?;
        let ([format, id], rest) = split(&token)?;
        if *format != FORMAT {
            return Err(SealError::UnknownFormat(*format));
        }
        let (nonce, sealed) = split(rest)?;
        let keys = self.keys.load();
        let key = keys.iter().find(|key| key.id == *id);
        let key = key.ok_or(SealError::UnknownKey(*id))?;
        key.lock(purpose).decrypt(*nonce, sealed)
    }

    /// The session id that says `claims`: visible ASCII, below 256 characters
    /// whatever they hold. `nonce` as for [`seal`](Self::seal).
    #[must_use]
    pub fn seal_session(&self, nonce: [u8; NONCE], claims: &SessionClaims) -> String {
        self.seal(Purpose::Session, nonce, &claims.encode())
    }

    /// What a session id says. Its age is for the caller to judge, by
    /// [`SessionClaims::expired`].
    ///
    /// # Errors
    /// As [`open`](Self::open), or a genuine id of another release.
    pub fn open_session(&self, token: &str) -> Result<SessionClaims, SealError> {
        if token.len() > SESSION_LIMIT {
            return Err(SealError::Malformed);
        }
        let plain = self.open(Purpose::Session, token)?;
        Ok(SessionClaims::decode(&plain)?)
    }
}

/// Every key of the ring, derived.
fn ready(ring: &KeyRing, cluster: &str) -> Vec<SealKey> {
    let keys = ring.keys().iter();
    keys.map(|key| SealKey::new(key, cluster)).collect()
}

impl SealKey {
    fn new(key: &RingKey, cluster: &str) -> Self {
        Self {
            id: key.id,
            fingerprint: key.fingerprint(),
            locks: Purpose::ALL.map(|purpose| Lock::new(key, cluster, purpose)),
        }
    }

    fn lock(&self, purpose: Purpose) -> &Lock {
        &self.locks[purpose.index()]
    }
}

impl Lock {
    fn new(key: &RingKey, cluster: &str, purpose: Purpose) -> Self {
        let purpose = [purpose.code()];
        let secret: [u8; 32] = key.derive(&[KEY_DOMAIN, &purpose]);
        Self {
            cipher: XChaCha20Poly1305::new(&secret.into()),
            // The cluster alone varies in length, so no two of these are alike.
            associated: [&[FORMAT, key.id], cluster.as_bytes(), &purpose].concat(),
        }
    }

    fn encrypt(&self, nonce: [u8; NONCE], plain: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(plain.len() + TAG);
        text.extend(plain);
        self.cipher
            .encrypt_in_place(&nonce.into(), &self.associated, &mut text)
            .expect("a message in memory is below the cipher's 256 GiB");
        text
    }

    fn decrypt(&self, nonce: [u8; NONCE], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        if sealed.len() < TAG {
            return Err(SealError::Malformed);
        }
        let mut text = sealed.to_vec();
        self.cipher
            .decrypt_in_place(&nonce.into(), &self.associated, &mut text)
            .map_err(|_| SealError::Forged)?;
        Ok(text)
    }
}

fn split<const N: usize>(bytes: &[u8]) -> Result<(&[u8; N], &[u8]), SealError> {
    bytes.split_first_chunk().ok_or(SealError::Malformed)
}
