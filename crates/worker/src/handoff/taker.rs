//! A way to the worker that takes a shard, and what is sent on it.

use hexagram_proto::CHUNK_BYTES;
use hexagram_proto::handoff::handoff_client::HandoffClient;
use hexagram_proto::handoff::{GrantPart, Move};
use tonic::transport::Channel;

/// A way to the taker.
pub(super) type Taker = HandoffClient<Channel>;

/// The move, then its state piece by piece.
pub(super) fn parts(meant: &Move, state: &[u8]) -> Vec<GrantPart> {
    let first = GrantPart {
        r#move: Some(meant.clone()),
        state: bytes::Bytes::new(),
    };
    let pieces = state.chunks(CHUNK_BYTES).map(|piece| GrantPart {
        r#move: None,
        state: bytes::Bytes::copy_from_slice(piece),
    });
    std::iter::once(first).chain(pieces).collect()
}
