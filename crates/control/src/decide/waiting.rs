//! What a controller waits for before its first map, in words.

use std::fmt;
use std::time::Duration;

use hexagram_core::{ShardCount, ShardId, WorkerId};

use crate::visit::PROBE;

/// Quiet after which a new cluster is complete.
pub(super) const NEW: Duration = Duration::from_secs(1);
/// Quiet after which a running cluster whose register was lost is complete: each
/// worker has tried to join twice.
pub(super) const LOST: Duration = Duration::from_secs(5);

/// Why there is no first map yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Nobody has joined who lives.
    Workers,
    /// These joined and are not known yet.
    Silent(Vec<WorkerId>),
    /// Too few have joined, of a cluster that is to begin with so many.
    Expected {
        /// How many there are to be.
        wanted: usize,
        /// How many there are.
        joined: usize,
    },
    /// Others may join just now, of a new cluster.
    More {
        /// How many there are.
        joined: usize,
    },
    /// The register was lost, and nobody who joined holds these.
    Holders {
        /// The first of them.
        shard: ShardId,
        /// How many there are.
        held_by_nobody: usize,
        /// Of so many.
        count: ShardCount,
    },
    /// All who joined are ending.
    Ending,
    /// A shard has no epoch left.
    Exhausted,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workers => f.write_str("for workers to join"),
            Self::Silent(names) => {
                let names: Vec<_> = names.iter().map(WorkerId::as_str).collect();
                // A probe, and another one after its silence.
                let most = 2 * PROBE.as_secs();
                write!(
                    f,
                    "for {} to answer, or to be declared dead, for {most} s at most",
                    names.join(", ")
                )
            }
            Self::Expected { wanted, joined } => write!(
                f,
                "for {wanted} workers to join (--workers-expected), {joined} did"
            ),
            Self::More { joined } => write!(
                f,
                "until no further worker has joined for {} s, {joined} did",
                NEW.as_secs()
            ),
            Self::Holders {
                shard,
                held_by_nobody,
                count,
            } => write!(
                f,
                "for who serves {held_by_nobody} of {count} shards, such as {shard}, until none \
                 has joined for {} s; then others get them",
                LOST.as_secs()
            ),
            Self::Ending => f.write_str("for another worker to join: those that did are ending"),
            Self::Exhausted => f.write_str("in vain: a shard has no epoch left"),
        }
    }
}
