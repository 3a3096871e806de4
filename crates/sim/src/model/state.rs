//! Everything there is at one moment, and what happened so far as far as a
//! property asks for it.

use std::collections::BTreeMap;

use hexagram_core::{Epoch, Holding, Phase, Route};

use super::Cluster;
use super::message::{Message, Messages, Open};
use super::store::Store;
use super::words::{EdgeId, Entry, Op, Ops, Remote, WorkerNo};

/// Workers in the model.
const WORKERS: u8 = 3;
/// Times that an edge sends one operation.
const ATTEMPTS: u8 = 2;

/// An exchange under way at a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Running {
    pub(super) edge: EdgeId,
    pub(super) admitted: Epoch,
}

/// One worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Worker {
    pub(super) dead: bool,
    pub(super) holding: Holding<WorkerNo>,
    /// The shard's state as this worker knows it.
    pub(super) ops: Ops,
    /// Whether the epoch it is about to serve in is claimed.
    pub(super) claimed: bool,
    /// Who granted it the shard, if it was not the register alone.
    pub(super) giver: Option<WorkerNo>,
    pub(super) running: BTreeMap<Op, Running>,
    pub(super) remote: Option<Remote>,
    // For invariant I5: the highest epoch that it gave away.
    pub(super) gave: Option<Epoch>,
}

/// The whole cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub(super) register: Entry,
    pub(super) store: Store,
    pub(super) workers: Vec<Worker>,
    pub(super) edges: Vec<Edge>,
    pub(super) network: Messages,
    pub(super) moves: u8,
    pub(super) crashes: u8,
    pub(super) suspicions: u8,
    pub(super) seen: Seen,
}

/// One edge.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Edge {
    pub(super) route: Route<WorkerNo>,
    pub(super) sent: BTreeMap<Op, u8>,
    pub(super) answered: Ops,
}

/// What happened, for the properties.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Seen {
    /// Who served in which epoch.
    pub(super) served: BTreeMap<Epoch, WorkerNo>,
    /// Two have served in one.
    pub(super) shared_epoch: bool,
    /// What was acknowledged, by epoch.
    pub(super) acknowledged: BTreeMap<Epoch, Ops>,
    /// A number went down somewhere.
    pub(super) went_back: bool,
    /// An exchange was ended in an epoch that had no part in it.
    pub(super) foreign_tail: bool,
    /// A call was answered in a session whose end was acknowledged.
    pub(super) rose_again: bool,
}

impl Worker {
    /// The shard is another's: what runs here has no owner to speak for it.
    pub(super) fn superseded(&mut self, epoch: Epoch) {
        let granted = matches!(self.holding.phase(), Phase::Granted(_) | Phase::Absent);
        if self.holding.superseded(epoch) && !granted {
            self.running.clear();
        }
    }
}

impl State {
    pub(super) fn new(cluster: &Cluster) -> Self {
        let mut workers = vec![Worker::default(); usize::from(WORKERS)];
        let owner = &mut workers[0].holding;
        let mut store = Store::default();
        let started = owner
            .claim(Epoch::FIRST)
            .and_then(|()| owner.activate(Epoch::FIRST));
        started.expect("a fresh worker may serve");
        store.claim(Epoch::FIRST);
        let edge = Edge {
            route: Route::new(0, Some(Epoch::FIRST)),
            sent: BTreeMap::new(),
            answered: Ops::default(),
        };
        Self {
            register: Entry::new(0, Epoch::FIRST),
            store,
            workers,
            edges: vec![edge; usize::from(cluster.edges)],
            network: Messages::new(),
            moves: 0,
            crashes: 0,
            suspicions: 0,
            seen: Seen {
                served: BTreeMap::from([(Epoch::FIRST, 0)]),
                ..Seen::default()
            },
        }
    }

    /// The workers that live.
    pub(super) fn living(&self) -> impl Iterator<Item = WorkerNo> {
        (0..WORKERS).filter(|no| self.is_alive(*no))
    }

    pub(super) fn is_alive(&self, no: WorkerNo) -> bool {
        !self.workers[usize::from(no)].dead
    }

    /// Whether a living worker would lose the shard to `to`: it may be serving, or
    /// still run what it admitted.
    pub(super) fn deposes(&self, to: WorkerNo) -> bool {
        let owner = Some(*self.register.owner());
        let taker = self.register.plan().map(|plan| plan.to);
        let mut serving = owner.into_iter().chain(taker);
        serving.any(|worker| worker != to && self.is_alive(worker))
    }

    /// Whether a worker waits for a taker of what it gave away; it reports that.
    pub(super) fn has_granted(&self, no: WorkerNo) -> bool {
        let phase = self.workers[usize::from(no)].holding.phase();
        matches!(phase, Phase::Granted(plan) if plan.epoch > self.register.epoch())
    }

    /// A worker, if it lives.
    pub(super) fn worker(&mut self, no: WorkerNo) -> Option<&mut Worker> {
        let worker = &mut self.workers[usize::from(no)];
        (!worker.dead).then_some(worker)
    }

    pub(super) fn crash(&mut self, no: WorkerNo) {
        self.crashes += 1;
        self.workers[usize::from(no)] = Worker {
            dead: true,
            ..Worker::default()
        };
        // What it was still told is of no interest to anybody.
        self.network.retain(|message| !message.is_to(no));
    }

    pub(super) fn may_send(&self, edge: EdgeId, op: Op) -> bool {
        let edge = &self.edges[usize::from(edge)];
        let sent = edge.sent.get(&op).copied().unwrap_or(0);
        !edge.answered.contains(op) && !edge.route.is_moving() && sent < ATTEMPTS
    }

    pub(super) fn send(&mut self, id: EdgeId, op: Op) {
        let edge = &mut self.edges[usize::from(id)];
        let Some(epoch) = edge.route.epoch() else {
            return;
        };
        let open = Open {
            edge: id,
            op,
            to: *edge.route.owner(),
            epoch,
        };
        // To say the same again would change nothing.
        if self.network.insert(Message::Open(open)) {
            *edge.sent.entry(op).or_default() += 1;
        }
    }

    pub(super) fn answered(&mut self, edge: EdgeId, op: Op) {
        let edge = &mut self.edges[usize::from(edge)];
        edge.answered = edge.answered.with(op);
    }
}
