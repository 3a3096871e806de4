//! What a controller is told and asked for, by whoever runs it and speaks to it.

use std::collections::BTreeSet;

use hexagram_core::{Owner, ShardCount, ShardId, WorkerId};
use hexagram_proto::Dial;
use tokio::sync::oneshot;

use crate::decide::{Refusal, Why};
use crate::fleet::NotTaken;
use crate::introduction::Introduction;
use crate::metrics::ControlMetrics;
use crate::register::RegisterError;

/// What a controller is told at its start.
#[derive(Clone)]
pub struct Settings {
    /// The cluster's id.
    pub cluster: String,
    /// How many shards it has.
    pub shards: ShardCount,
    /// Workers to wait for before the first map of a new cluster.
    pub expected: Option<usize>,
    /// How workers are reached.
    pub dial: Dial,
    /// What it counts.
    pub metrics: ControlMetrics,
}

/// Why an order is not followed.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// It cannot be.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The register did not take it.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The controller ended.
    #[error("the controller is ending")]
    Ended,
}

pub(crate) type Answer<T> = oneshot::Sender<T>;

/// What the driver is asked for.
#[derive(Debug)]
pub(crate) enum Request {
    Join(Introduction, Answer<Result<(), NotTaken>>),
    Leave(Owner),
    /// A map of this version is known somewhere.
    Known(u64),
    Move(u16, WorkerId, Answer<Result<(), OrderError>>),
    Drain(WorkerId, Answer<Result<(), OrderError>>),
    CancelDrain(WorkerId, Answer<Result<(), OrderError>>),
    /// The end of these is near.
    Outgoing(BTreeSet<WorkerId>),
    /// The platform has these, and no others.
    Present(BTreeSet<WorkerId>),
}

/// What a controller tells as it happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The register took a change.
    Written(Written),
    /// A worker may not join, for this reason: told once a life and reason.
    Refused(Owner, NotTaken),
}

/// A change that the register took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The shard.
    pub shard: ShardId,
    /// Its owner before.
    pub from: WorkerId,
    /// Its owner now, or the taker of the move that began.
    pub to: WorkerId,
    /// The reason.
    pub why: Why,
}
