//! What the parties say to each other. A message stays on its way for ever: it
//! may arrive late, twice, out of order, or never.

use std::collections::BTreeSet;

use hexagram_core::Epoch;

use super::words::{EdgeId, Entry, Op, Ops, WorkerNo};

/// All messages ever sent.
pub type Messages = BTreeSet<Message>;

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Message {
    /// The register's entry at some time, for a worker.
    Map {
        /// Who hears of it.
        to: WorkerNo,
        /// What it hears.
        entry: Entry,
    },
    /// An edge is told about the shard.
    News(EdgeId, News),
    /// A worker tells the controller what it serves.
    Report {
        /// The owner.
        from: WorkerNo,
        /// The epoch it serves in.
        epoch: Epoch,
    },
    /// An owner tells the controller that a move comes to nothing.
    GaveUp {
        /// The move's epoch.
        epoch: Epoch,
    },
    /// The shard with its state.
    Grant(Grant),
    /// The grant has arrived.
    Taken {
        /// The giver.
        to: WorkerNo,
        /// The epoch it gave away.
        epoch: Epoch,
    },
    /// A client's message.
    Open(Open),
    /// Its answer, by whomever.
    Answer {
        /// The edge that sent it.
        edge: EdgeId,
        /// What is answered.
        op: Op,
    },
    /// What an exchange that ran on at the old owner has changed.
    Tail(Tail),
    /// The new owner ends a session at the old one.
    DeleteTails {
        /// The old owner.
        at: WorkerNo,
        /// The new owner.
        from: WorkerNo,
    },
    /// The old owner has heard.
    TailsDeleted {
        /// The new owner.
        to: WorkerNo,
    },
}

/// What an edge hears: from the register, or from workers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum News {
    /// Who owns the shard.
    Owner(WorkerNo, Epoch),
    /// A frozen owner sends messages back; the move's next owner and epoch.
    Moving(Epoch, WorkerNo, Epoch),
    /// An owner has given the move up.
    Resumed(Epoch),
}

/// A shard given away.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Grant {
    /// The giver.
    pub from: WorkerNo,
    /// The taker.
    pub to: WorkerNo,
    /// The epoch reserved for the taker.
    pub epoch: Epoch,
    /// The state.
    pub ops: Ops,
    /// What still runs at the giver.
    pub tails: Ops,
}

/// A client's message on its link.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Open {
    /// The sender.
    pub edge: EdgeId,
    /// What the client wants.
    pub op: Op,
    /// The owner as the edge knows it.
    pub to: WorkerNo,
    /// Its epoch as the edge knows it.
    pub epoch: Epoch,
}

/// The end of an exchange that ran on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tail {
    /// What was done.
    pub op: Op,
    /// Who waits for the answer.
    pub edge: EdgeId,
    /// The new owner.
    pub to: WorkerNo,
    /// The epoch in which the exchange was admitted.
    pub admitted: Epoch,
    /// The epoch that was granted with it in the list.
    pub granted: Epoch,
}

impl Message {
    /// Whether it is for this worker alone.
    pub(super) fn is_to(&self, no: WorkerNo) -> bool {
        match self {
            Self::Grant(grant) => grant.to == no,
            Self::Open(open) => open.to == no,
            Self::Tail(tail) => tail.to == no,
            Self::Taken { to, .. } | Self::TailsDeleted { to } => *to == no,
            Self::DeleteTails { at, .. } => *at == no,
            Self::Map { to, .. } => *to == no,
            Self::Report { .. } | Self::GaveUp { .. } | Self::News(..) | Self::Answer { .. } => {
                false
            }
        }
    }
}
