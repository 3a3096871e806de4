//! Large messages travel in chunks, so that a link's frames stay small and one
//! big message does not hold up its neighbours.

use bytes::{Bytes, BytesMut};

/// Largest piece of a message in one frame, in bytes.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// Splits a message into chunks of at most [`CHUNK_BYTES`], each with a flag
/// that says whether more follow. An empty message is one empty chunk.
pub fn chunks(mut message: Bytes) -> impl Iterator<Item = (Bytes, bool)> {
    let mut done = false;
    std::iter::from_fn(move || {
        if done {
            return None;
        }
        let piece = message.split_to(message.len().min(CHUNK_BYTES));
        done = message.is_empty();
        Some((piece, !done))
    })
}

/// A message grew over the receiver's limit.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("message is longer than {limit} bytes")]
pub struct TooLong {
    /// The limit, in bytes.
    pub limit: usize,
}

/// Puts a chunked message together again.
#[derive(Debug)]
pub struct Assembly {
    buffer: BytesMut,
    limit: usize,
}

impl Assembly {
    /// An empty assembly that accepts up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            limit,
        }
    }

    /// Adds a chunk; gives the message when it was the last one.
    ///
    /// # Errors
    /// [`TooLong`] when the message exceeds the limit.
    pub fn push(&mut self, piece: &[u8], more: bool) -> Result<Option<Bytes>, TooLong> {
        if self.buffer.len() + piece.len() > self.limit {
            return Err(TooLong { limit: self.limit });
        }
        self.buffer.extend_from_slice(piece);
        Ok((!more).then(|| self.buffer.split().freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_message_is_one_chunk() {
        let all: Vec<_> = chunks(Bytes::new()).collect();
        assert_eq!(all, [(Bytes::new(), false)]);
    }

    #[test]
    fn over_the_limit_is_refused() {
        let mut assembly = Assembly::new(3);
        assert_eq!(assembly.push(b"ab", true), Ok(None));
        assert_eq!(assembly.push(b"cd", false), Err(TooLong { limit: 3 }));
    }

    proptest! {
        #[test]
        fn assembled_again(len in 0..4 * CHUNK_BYTES) {
            let message: Bytes = (0..len).map(|i| i as u8).collect();
            let mut assembly = Assembly::new(len);
            let mut got = None;
            for (piece, more) in chunks(message.clone()) {
                prop_assert!(piece.len() <= CHUNK_BYTES);
                prop_assert!(got.is_none());
                got = assembly.push(&piece, more).expect("within the limit");
            }
            prop_assert_eq!(got, Some(message));
        }
    }
}
