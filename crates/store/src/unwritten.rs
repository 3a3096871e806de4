//! Why a change may not be stored.

use hexagram_core::Epoch;
use thiserror::Error;

/// A change that is not known to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unwritten {
    /// A later owner has claimed the shard: it will never be stored.
    #[error("a later owner, of epoch {0}, has claimed the shard")]
    Fenced(Epoch),
    /// The store does not answer now, or too few of its replicas have the change. It is kept
    /// and stored once it does.
    #[error("the store does not answer")]
    Lost,
    /// The shard has left this worker.
    #[error("the shard is not served here any more")]
    Closed,
}
