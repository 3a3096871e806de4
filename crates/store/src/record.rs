//! What is stored of a shard, and how that changes.

use std::time::Duration;

use bytes::Bytes;
use hexagram_core::{Epoch, EventId, SessionKey, ShardId};

/// How long a store keeps what a session's streams have said, after the last of it. Longer
/// than any worker does; only so that nothing stays for ever.
pub const SAID_KEPT: Duration = Duration::from_secs(150);

/// 512 dead bits: a part of `dead[shard][epoch at minting]` (DESIGN 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadChunk {
    /// The epoch at minting.
    pub epoch: Epoch,
    /// Which 512 serials: those from `512 * number`.
    pub number: u64,
    /// The bits, 64 to a word.
    pub words: [u64; 8],
    /// Unix time in seconds after which no session of the chunk can live.
    pub until: u64,
}

/// A message that a session's streams have said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its id.
    pub id: EventId,
    /// The message, and what its worker notes beside it.
    pub message: Bytes,
}

/// One change of a shard's record. Each says how things are from now on, so that saying
/// it twice does no harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A session's record. Opaque here.
    Session(SessionKey, Bytes),
    /// Nothing is kept for a session any more, and nothing that it said.
    Forget(SessionKey),
    /// Sessions were deleted.
    Dead(DeadChunk),
    /// All sessions of a chunk have expired.
    Undead(Epoch, u64),
    /// A session's stream has said something. Kept until the session has been silent for
    /// [`SAID_KEPT`].
    Said(SessionKey, Said),
    /// What it said is not kept any more.
    Unsaid(SessionKey, EventId),
    /// Exchanges that run on at an earlier owner. Opaque here; empty: none.
    Tails(Bytes),
    /// The record is whole again after a [`ClaimMode::Rewrite`](crate::ClaimMode::Rewrite).
    Whole,
}

/// Changes of one shard that are written together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The shard.
    pub shard: ShardId,
    /// Its owner's epoch.
    pub epoch: Epoch,
    /// Counts the groups since the claim, from 1. A group without changes has the number
    /// of the one before: it only asks whether the record is as it was left.
    pub number: u64,
    /// In their order.
    pub changes: Vec<Change>,
}

/// A shard's record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// See [`Change::Tails`].
    pub tails: Bytes,
    /// In no order.
    pub dead: Vec<DeadChunk>,
    /// In no order.
    pub sessions: Vec<(SessionKey, Bytes)>,
    /// By session, in no order.
    pub said: Vec<(SessionKey, Said)>,
}
