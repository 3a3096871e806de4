//! What one seed does to a cluster.

use std::time::Duration;

pub(super) use crate::history::{CLIENTS, STORE};
use crate::history::{Change, Deed, Event, Step};

/// Where clients reach an edge.
pub(super) const CLIENT_PORT: u16 = 8080;
/// Where a controller is reached.
pub(super) const CONTROL_PORT: u16 = 7000;

/// Names of the hosts.
pub(super) const CONTROL: &str = "control";
pub(super) const REGISTER: &str = "register";

/// One cluster and what is done to it. Times count from the beginning.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it was drawn from.
    pub seed: u64,
    /// How many edges.
    pub edges: usize,
    /// How many workers.
    pub workers: usize,
    /// How many shards, a power of two.
    pub shards: u16,
    /// How many clients of the legacy era.
    pub legacy: usize,
    /// How many of the modern era.
    pub modern: usize,
    /// Whether workers have a session store.
    pub store: bool,
    /// Longest way of a message through the network.
    pub latency: Duration,
    /// What the operator orders, and when.
    pub orders: Vec<(Duration, Order)>,
    /// Who dies at which step.
    pub crashes: Vec<Crash>,
    /// What happens at a given time.
    pub faults: Vec<(Duration, Fault)>,
    /// Until when faults begin.
    pub chaos: Duration,
}

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// A shard is to move.
    Move {
        /// The shard.
        shard: u16,
        /// The worker's name.
        to: String,
    },
    /// A worker is to be emptied.
    Drain(String),
}

/// A process dies at a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// The step after which it does nothing more.
    pub after: Moment,
    /// Who dies.
    pub victim: Victim,
    /// Its machine goes with it: nobody is told.
    pub machine: bool,
    /// How long it is away.
    pub away: Duration,
}

/// A step, and the how-manieth of its kind, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The kind of step.
    pub kind: Kind,
    /// How many are still to come.
    pub nth: u32,
}

/// A kind of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A worker's or an edge's step with a shard.
    Deed(Deed),
    /// The register shows a planned move.
    Planned,
    /// The register gave one up.
    Aborted,
    /// The register shows another owner.
    Owner(Change),
    /// A worker admitted a request.
    Admitted,
}

/// Who dies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Victim {
    /// Who took the step.
    Actor,
    /// This one.
    Host(String),
}

/// What happens to the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A process is killed; with its machine, nobody is told.
    Kill {
        /// Whose.
        host: String,
        /// Whether the machine goes too.
        machine: bool,
        /// How long it is away.
        away: Duration,
    },
    /// A process is asked to end, and started again when it has.
    End {
        /// Whose.
        host: String,
        /// How long it is away.
        away: Duration,
    },
    /// Two hosts do not hear each other.
    Cut {
        /// One.
        a: String,
        /// The other.
        b: String,
        /// For how long.
        lasts: Duration,
        /// What was on its way comes later, rather than never.
        late: bool,
    },
    /// The register loses all that it holds.
    Wipe,
    /// Something is wrong with the store.
    Store {
        /// What.
        trouble: StoreTrouble,
        /// For how long, unless it is over at once.
        lasts: Duration,
    },
}

/// What may be wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreTrouble {
    /// It does nothing.
    Down,
    /// It does what it is asked and does not say so.
    Mute,
    /// It loses all that it holds.
    Wiped,
    /// It loses what was written in the time given.
    RolledBack,
}

impl Moment {
    /// Whether this is the event; counts it if it is of the kind.
    pub(super) fn hits(&mut self, event: &Event) -> bool {
        if Kind::of(&event.step) != Some(self.kind) {
            return false;
        }
        self.nth = self.nth.saturating_sub(1);
        self.nth == 0
    }
}

impl Kind {
    fn of(step: &Step) -> Option<Self> {
        Some(match step {
            Step::Shard { what, .. } => Self::Deed(*what),
            Step::Planned { .. } => Self::Planned,
            Step::Aborted { .. } => Self::Aborted,
            Step::Owner { by, .. } => Self::Owner(*by),
            Step::Admitted { .. } => Self::Admitted,
            _ => return None,
        })
    }
}

impl Victim {
    /// Who dies of this event.
    pub(super) fn of(&self, event: &Event) -> String {
        match self {
            Self::Actor => event.host.clone(),
            Self::Host(host) => host.clone(),
        }
    }
}

/// A host's name.
pub(super) fn worker(number: usize) -> String {
    format!("worker-{number}")
}

/// A host's name.
pub(super) fn edge(number: usize) -> String {
    format!("edge-{number}")
}

impl Scenario {
    /// How many clients.
    #[must_use]
    pub const fn clients(&self) -> usize {
        self.legacy + self.modern
    }
}
