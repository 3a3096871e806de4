//! Which sessions were deleted: one bit each (DESIGN 4, invariant I12).

use std::collections::BTreeMap;

use crate::{Epoch, SessionKey};

/// The dead bits of one shard: `dead[epoch at minting][serial]`.
///
/// Grows by one bit a minted session, deleted or not: a million sessions of an
/// epoch take 125 KB.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadSet(BTreeMap<Epoch, Vec<u64>>);

impl DeadSet {
    /// Marks a session as deleted, for good.
    ///
    /// The key must be one that this shard minted: an arbitrary serial would
    /// reserve its whole range of bits.
    pub fn insert(&mut self, key: SessionKey) {
        let (word, bit) = place(key);
        let words = self.0.entry(key.epoch).or_default();
        if words.len() <= word {
            words.resize(word + 1, 0);
        }
        words[word] |= bit;
    }

    /// Whether the session was deleted.
    #[must_use]
    pub fn contains(&self, key: SessionKey) -> bool {
        let (word, bit) = place(key);
        self.0
            .get(&key.epoch)
            .and_then(|words| words.get(word))
            .is_some_and(|word| word & bit != 0)
    }
}

impl DeadSet {
    /// The bits by epoch, 64 to a word, for whoever carries them elsewhere.
    pub fn words(&self) -> impl Iterator<Item = (Epoch, &[u64])> {
        self.0.iter().map(|(epoch, words)| (*epoch, &words[..]))
    }
}

/// What [`DeadSet::words`] gave.
impl FromIterator<(Epoch, Vec<u64>)> for DeadSet {
    fn from_iter<I: IntoIterator<Item = (Epoch, Vec<u64>)>>(words: I) -> Self {
        Self(words.into_iter().collect())
    }
}

fn place(key: SessionKey) -> (usize, u64) {
    let serial = key.serial.get();
    ((serial / 64) as usize, 1 << (serial % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Serial;
    use proptest::prelude::*;

    fn key(epoch: u64, serial: u64) -> SessionKey {
        SessionKey {
            epoch: Epoch::new(epoch).expect("not zero"),
            serial: Serial::new(serial),
        }
    }

    proptest! {
        #[test]
        fn exactly_what_was_deleted_is_dead(
            deleted in prop::collection::hash_set((1u64..4, 0u64..300), 0..40),
            asked in (1u64..4, 0u64..400),
        ) {
            let mut dead = DeadSet::default();
            for &(epoch, serial) in &deleted {
                dead.insert(key(epoch, serial));
            }
            let carried: DeadSet = dead.words().map(|(epoch, words)| (epoch, words.to_vec())).collect();
            prop_assert_eq!(&carried, &dead);
            prop_assert_eq!(dead.contains(key(asked.0, asked.1)), deleted.contains(&asked));
        }
    }
}
