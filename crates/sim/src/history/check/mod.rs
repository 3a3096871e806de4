//! Decides over a history.

mod clients;
mod counts;
mod moves;
mod owners;
mod sessions;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

pub use counts::Counts;

use super::History;

/// What is asked of a cluster, by the number in DESIGN 10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// At most one owner serves a shard in an epoch.
    I1,
    /// An acknowledged change is in every later owner: what was answered has run, and
    /// a session goes on as it was, unless its shard's owner was lost.
    I2,
    /// No change is applied twice. What was refused has not been applied at all.
    I3,
    /// Epochs only grow, at register, worker and edge.
    I4,
    /// Nothing is undone after a grant; a move given up before it changes nothing.
    I5,
    /// A session's messages are admitted in their client's causal order.
    I6,
    /// Every move ends, and a shard is frozen for no longer than it may be.
    I7,
    /// What runs was admitted, by an owner, in the epoch that it served in.
    I8,
    /// No owner stops without cause: a process that ends was asked to, and a shard that
    /// is left has another owner.
    I9,
    /// Every message is answered, or refused, or its connection ends with its edge.
    I10,
    /// A drained worker ends only when the register no longer names it, or its grace
    /// is over, or there is no other worker.
    I11,
    /// A deleted session never answers again.
    I12,
    /// After the last fault every client is served again in time.
    Live,
}

/// What is not to be exceeded.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a shard may be frozen before it is granted or resumed.
    pub freeze: Duration,
    /// How long a move may take.
    pub moving: Duration,
    /// How long a worker may take to end.
    pub grace: Duration,
    /// How long after the last fault every client is served.
    pub healing: Duration,
    /// How late an admission may be written down, for threads write a log in any order;
    /// and how long a process may take to die.
    pub slack: Duration,
}

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// When it was seen.
    pub at: Duration,
    /// How.
    pub what: String,
}

/// What is to be said of a history.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// All that was broken.
    pub violations: Vec<Violation>,
    /// What it adds up to.
    pub counts: Counts,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, invariant) = (self.at.as_secs_f64(), self.invariant);
        write!(f, "{invariant:?} at {at:.3} s: {}", self.what)
    }
}

/// Where the checks write what they find.
#[derive(Default)]
struct Found(Vec<Violation>);

impl Found {
    fn add(&mut self, invariant: Invariant, at: Duration, what: impl Into<String>) {
        let what = what.into();
        self.0.push(Violation {
            invariant,
            at,
            what,
        });
    }
}

/// Decides over a history.
#[must_use]
pub fn check(history: &History, limits: &Limits) -> Verdict {
    let mut found = Found::default();
    owners::check(history, limits, &mut found);
    moves::check(history, limits, &mut found);
    clients::check(history, limits, &mut found);
    sessions::check(history, &mut found);
    let mut violations = found.0;
    violations.sort_by_key(|violation| violation.at);
    let counts = Counts::of(history, &violations);
    Verdict { violations, counts }
}
