//! Names of keys and fields, and what is kept in them that is not the worker's.

use bytes::Bytes;
use hexagram_core::{Epoch, Serial, SessionKey, ShardId};

use crate::record::DeadChunk;

/// Whose store it is: cluster, shards, schema, incarnation.
pub(super) const ABOUT: &str = "hexagram:about";

/// The keys of one shard. The braces make its number the hash tag of them all, so that
/// they stay together wherever keys are spread.
#[derive(Clone, Copy)]
pub(super) struct Keys(pub(super) ShardId);

impl Keys {
    /// Hash: owner's epoch and claim, floor, last group, tails.
    pub(super) fn head(self) -> String {
        self.named("head")
    }

    /// Hash: session to its record.
    pub(super) fn sessions(self) -> String {
        self.named("sessions")
    }

    /// Hash: chunk to its bits.
    pub(super) fn dead(self) -> String {
        self.named("dead")
    }

    /// Sorted set: sessions of which something is kept that they said, by when it goes.
    pub(super) fn speakers(self) -> String {
        self.named("speakers")
    }

    /// Hash of one session: event id to message. It expires.
    pub(super) fn said(self, session: &str) -> String {
        self.named(&format!("said:{session}"))
    }

    fn named(self, name: &str) -> String {
        format!("hexagram:{{{}}}:{name}", self.0)
    }
}

/// A number that compares as text: all 20 digits that a u64 can have.
pub(super) fn digits(number: u64) -> String {
    format!("{number:020}")
}

/// Reads [`digits`] of an epoch.
pub(super) fn read_epoch(text: &str) -> Option<Epoch> {
    text.parse().ok().and_then(Epoch::new)
}

/// A session as a field.
pub(super) fn session_field(key: SessionKey) -> String {
    format!("{}.{}", key.epoch, key.serial.get())
}

/// Reads [`session_field`].
pub(super) fn read_session(field: &str) -> Option<SessionKey> {
    let (epoch, serial) = pair(field)?;
    let serial = Serial::new(serial);
    Some(SessionKey { epoch, serial })
}

/// A chunk as a field.
pub(super) fn chunk_field(epoch: Epoch, number: u64) -> String {
    format!("{epoch}.{number}")
}

/// A chunk's end and bits: nine big-endian words.
pub(super) fn chunk_bytes(chunk: &DeadChunk) -> Vec<u8> {
    let words = std::iter::once(&chunk.until).chain(&chunk.words);
    words.flat_map(|word| word.to_be_bytes()).collect()
}

/// Reads [`chunk_field`] and [`chunk_bytes`].
pub(super) fn read_chunk(field: &str, bytes: &[u8]) -> Option<DeadChunk> {
    let (epoch, number) = pair(field)?;
    let (words, rest) = bytes.as_chunks::<8>();
    let mut words = words.iter().map(|word| u64::from_be_bytes(*word));
    let until = words.next()?;
    let words = words.collect::<Vec<_>>().try_into().ok()?;
    rest.is_empty().then_some(DeadChunk {
        epoch,
        number,
        words,
        until,
    })
}

fn pair(field: &str) -> Option<(Epoch, u64)> {
    let (epoch, number) = field.split_once('.')?;
    Some((read_epoch(epoch)?, number.parse().ok()?))
}

/// A field and its value.
pub(super) type Entry = (String, Bytes);

#[cfg(test)]
mod tests {
    use hexagram_core::ShardCount;
    use proptest::prelude::*;

    use super::*;

    fn epoch() -> impl Strategy<Value = Epoch> {
        (1..=u64::MAX).prop_map(|number| Epoch::new(number).unwrap())
    }

    proptest! {
        #[test]
        fn numbers_compare_as_text(a: u64, b: u64) {
            prop_assert_eq!(a.cmp(&b), digits(a).cmp(&digits(b)));
        }

        #[test]
        fn sessions_are_read_back(epoch in epoch(), serial: u64) {
            let key = SessionKey { epoch, serial: Serial::new(serial) };
            prop_assert_eq!(read_session(&session_field(key)), Some(key));
        }

        #[test]
        fn chunks_are_read_back(epoch in epoch(), number: u64, words: [u64; 8], until: u64) {
            let chunk = DeadChunk { epoch, number, words, until };
            let field = chunk_field(epoch, number);
            prop_assert_eq!(read_chunk(&field, &chunk_bytes(&chunk)), Some(chunk));
        }

        #[test]
        fn other_bytes_are_no_chunk(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assume!(bytes.len() != 72);
            prop_assert_eq!(read_chunk("1.1", &bytes), None);
        }
    }

    #[test]
    fn all_keys_of_a_shard_have_its_tag() {
        let keys = Keys(ShardCount::default().shard(17).unwrap());
        assert_eq!(keys.head(), "hexagram:{17}:head");
        assert_eq!(keys.said("1.2"), "hexagram:{17}:said:1.2");
        for key in [keys.sessions(), keys.dead(), keys.speakers()] {
            assert!(key.starts_with("hexagram:{17}:"), "{key}");
        }
    }
}
