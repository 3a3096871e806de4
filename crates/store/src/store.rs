//! What a store does, whatever keeps it.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hexagram_core::{Epoch, ShardId};
use thiserror::Error;

use crate::record::{Group, Record};

/// How a shard's record is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimMode {
    /// The record as it is: it is to be loaded, or the claimant has what it says from its
    /// last owner. Where there is none, or not a whole one, it begins empty with the
    /// claimant's epoch as its floor.
    Keep,
    /// Everything is written anew: what the record said is dropped, and it counts as
    /// whole only after [`Change::Whole`](crate::Change::Whole). The floor is the one given.
    Rewrite {
        /// Ids minted in an earlier epoch are gone (DESIGN 4).
        floor: Epoch,
    },
}

/// A claim of one shard in one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The shard.
    pub shard: ShardId,
    /// The epoch in which the claimant is to serve.
    pub epoch: Epoch,
    /// What becomes of the record.
    pub mode: ClaimMode,
}

/// How far a record is written: its owner's epoch, and the number of that one's last group.
///
/// An owner that gives its shard away says where it left the record. One that is found
/// elsewhere was rolled back in between, or claimed by somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The epoch of the last claim.
    pub epoch: Epoch,
    /// The last group since.
    pub number: u64,
}

/// What a claim came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// No older owner writes any more. Claiming the same epoch again is the same claim,
    /// with the same answer until a group is written, except that the record was left by
    /// the claim before; and the groups are counted from 1 again.
    Yours {
        /// Ids minted in an earlier epoch are gone.
        floor: Epoch,
        /// Whether the record is kept: it was there, whole, and is not to be rewritten.
        /// Otherwise it begins empty.
        known: bool,
        /// How far a record that is kept was written before this claim.
        left: Option<Mark>,
    },
    /// A later epoch was claimed; nothing changed.
    Fenced(Epoch),
}

/// What writing a group came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrote {
    /// It is stored, now or since an earlier attempt.
    Stored,
    /// A later epoch was claimed; nothing changed.
    Fenced(Epoch),
    /// The record is not as this owner left it: the store was wiped or rolled back.
    /// Nothing changed; it has to be claimed and rewritten.
    Behind,
}

/// What became of each group.
pub type Written = Vec<Result<Wrote, StoreError>>;

/// Hears of each piece of a record that has come.
pub type Arrived<'a> = &'a (dyn Fn() + Send + Sync);

/// Why a store did not do what was asked; whether it has is not known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// It cannot be reached, or does not answer in time.
    #[error("the store does not answer: {0}")]
    Lost(String),
    /// What it holds is not ours, or no release of ours has written it.
    #[error("the store cannot be used: {0}")]
    Unusable(String),
    /// It has what was written, and too few of its replicas do: that counts as not stored,
    /// though it need not be written again.
    #[error("too few replicas of the store have what was written: {0}")]
    Unreplicated(String),
}

/// Where shards' records are kept.
///
/// Each call is for shards of one cluster. What a call has changed is there for every
/// later call of anybody, as far as the store itself keeps its word
/// (docs/movement.md says what asynchronous replication can lose).
pub trait Store: Send + Sync + std::fmt::Debug + 'static {
    /// Claims a shard: one script, so that nobody reads before older owners are fenced.
    ///
    /// # Errors
    /// [`StoreError`]; the claim may have been made.
    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<Claimed, StoreError>>;

    /// Reads a record that the caller has claimed. A large one comes in pieces, and
    /// `arrived` is called with each: so a caller knows it from a store that does not answer.
    ///
    /// # Errors
    /// [`StoreError`]
    fn load<'a>(
        &'a self,
        shard: ShardId,
        arrived: Arrived<'a>,
    ) -> BoxFuture<'a, Result<Record, StoreError>>;

    /// Writes groups of different shards; gives what became of each, in their order: an
    /// error there is of that group alone. A group is [`Wrote::Behind`] unless its shard was claimed through this same store
    /// object, and that claim is the last that was made.
    ///
    /// # Errors
    /// [`StoreError`]; any of them may have been written. Also one that is refused may be
    /// written again, as it was.
    fn write<'a>(&'a self, groups: &'a [Group]) -> BoxFuture<'a, Result<Written, StoreError>>;

    /// As [`write()`](Self::write), of groups without changes, for who wants to know only
    /// whether later owners have claimed the shards: what replicas have is not waited for.
    ///
    /// # Errors
    /// [`StoreError`]
    fn inquire<'a>(&'a self, groups: &'a [Group]) -> BoxFuture<'a, Result<Written, StoreError>> {
        self.write(groups)
    }

    /// Whether it answers, and has the replicas that are to be waited for.
    ///
    /// # Errors
    /// [`StoreError`]
    fn check(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async move { self.write(&[]).await.map(drop) }.boxed()
    }
}
