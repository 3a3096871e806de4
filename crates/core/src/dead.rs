//! Which sessions were deleted: one bit each (DESIGN 4, invariant I12).

use std::collections::BTreeMap;

use crate::{Epoch, Serial, SessionKey};

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
    /// Sessions in one chunk of [`Self::chunk_of`].
    pub const CHUNK: u64 = 512;

    /// The number of the chunk with this session's bit, and its words.
    #[must_use]
    pub fn chunk_of(&self, key: SessionKey) -> (u64, [u64; 8]) {
        let number = key.serial.get() / Self::CHUNK;
        let words = self.0.get(&key.epoch).map_or(&[][..], |words| words);
        let first = usize::try_from(number * 8).unwrap_or(usize::MAX);
        let mut chunk = [0; 8];
        let known = words.get(first..).unwrap_or_default();
        for (word, known) in chunk.iter_mut().zip(known) {
            *word = *known;
        }
        (number, chunk)
    }

    /// Takes in the dead of one chunk.
    ///
    /// The chunk must come from this shard: an arbitrary number would reserve its whole
    /// range of bits.
    pub fn insert_chunk(&mut self, epoch: Epoch, number: u64, chunk: [u64; 8]) {
        let words = self.0.entry(epoch).or_default();
        let first = usize::try_from(number * 8).unwrap_or(usize::MAX);
        if words.len() < first + 8 {
            words.resize(first + 8, 0);
        }
        for (word, dead) in words[first..].iter_mut().zip(chunk) {
            *word |= dead;
        }
    }

    /// The keys of sessions whose chunks together are the whole set: one of each chunk in
    /// which somebody is dead.
    pub fn chunk_keys(&self) -> impl Iterator<Item = SessionKey> {
        self.0.iter().flat_map(|(epoch, words)| {
            let chunks = words.chunks(8).zip(0u64..);
            let with_dead = chunks.filter(|(chunk, _)| chunk.iter().any(|word| *word != 0));
            with_dead.map(|(_, number)| SessionKey {
                epoch: *epoch,
                serial: Serial::new(number * Self::CHUNK),
            })
        })
    }

    /// Forgets the dead of one chunk: their ids can be presented no more.
    pub fn forget_chunk(&mut self, epoch: Epoch, number: u64) {
        let Some(words) = self.0.get_mut(&epoch) else {
            return;
        };
        let first = usize::try_from(number * 8).unwrap_or(usize::MAX);
        for word in words.iter_mut().skip(first).take(8) {
            *word = 0;
        }
        if words.iter().all(|word| *word == 0) {
            self.0.remove(&epoch);
        }
    }

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
            deleted in prop::collection::hash_set((1u64..4, 0u64..1300), 0..40),
            asked in (1u64..4, 0u64..1400),
        ) {
            let mut dead = DeadSet::default();
            for &(epoch, serial) in &deleted {
                dead.insert(key(epoch, serial));
            }
            let carried: DeadSet = dead.words().map(|(epoch, words)| (epoch, words.to_vec())).collect();
            prop_assert_eq!(&carried, &dead);
            let mut chunked = DeadSet::default();
            for key in dead.chunk_keys() {
                let (number, words) = dead.chunk_of(key);
                chunked.insert_chunk(key.epoch, number, words);
            }
            for &(epoch, serial) in &deleted {
                prop_assert!(chunked.contains(key(epoch, serial)));
            }
            prop_assert_eq!(chunked.contains(key(asked.0, asked.1)), dead.contains(key(asked.0, asked.1)));
            prop_assert_eq!(dead.contains(key(asked.0, asked.1)), deleted.contains(&asked));
        }

        #[test]
        fn a_chunk_is_forgotten_and_nothing_else(
            deleted in prop::collection::hash_set((1u64..4, 0u64..1300), 0..40),
            (epoch, number) in (1u64..4, 0u64..4),
        ) {
            let mut dead = DeadSet::default();
            for &(epoch, serial) in &deleted {
                dead.insert(key(epoch, serial));
            }
            dead.forget_chunk(Epoch::new(epoch).expect("not zero"), number);
            let mut left = 0;
            for &(at, serial) in &deleted {
                let is_forgotten = (at, serial / DeadSet::CHUNK) == (epoch, number);
                prop_assert_eq!(dead.contains(key(at, serial)), !is_forgotten);
                left += usize::from(!is_forgotten);
            }
            prop_assert_eq!(left == 0, dead == DeadSet::default(), "an empty epoch takes no room");
        }
    }
}
