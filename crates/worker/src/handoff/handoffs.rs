//! What this worker holds, and how that changes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hexagram_core::{
    Entry, Epoch, Holding, Incarnation, Owner, Phase, Plan, RegisterMap, Setup, ShardId,
};
use hexagram_proto::admin::{self, Held};
use hexagram_proto::handoff::Move;
use hexagram_proto::{Dial, STEPS, WorkerAddress};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::copy::Copies;
use super::restart;
use super::storage::Storage;
use crate::host::Host;
use crate::kept::Kept;
use crate::shard::Shard;
use crate::successor::Successor;

/// Format of the state that a grant carries.
pub(super) const STATE_FORMAT: u32 = 1;

/// A worker that ends and is the last one waits so long for another to join: who is there
/// says so each two seconds.
const LONELY: Duration = Duration::from_secs(5);

/// Reads the register's map as it is now; `None` where that is out of reach, or has none.
pub type ReadMap = Arc<dyn Fn() -> BoxFuture<'static, Option<Arc<RegisterMap>>> + Send + Sync>;

/// Where a worker learns what it owns.
#[derive(Clone)]
pub struct Membership {
    /// The register's map; none before the first.
    pub register: watch::Receiver<Option<Arc<RegisterMap>>>,
    /// The same map, read anew: after the process was stopped, what is followed may be old.
    /// Not waited for longer than a second.
    pub read: ReadMap,
    /// Whether the register can be reached: without it and without a store nothing that
    /// must be recorded is accepted.
    pub reached: watch::Receiver<bool>,
    /// How other workers are reached.
    pub dial: Dial,
    /// Whether a worker that ends has its shards moved away first. Not where all
    /// workers end together.
    pub hands_over: bool,
    /// What the controller is told of this process.
    pub setup: Setup,
}

/// What this worker holds, and how that changes.
pub(crate) struct Handoffs {
    pub(crate) host: Arc<Host>,
    pub(crate) me: Owner,
    pub(super) cluster: String,
    pub(super) membership: Membership,
    pub(super) kept: Kept,
    pub(crate) storage: Option<Storage>,
    pub(super) seats: Vec<Mutex<Seat>>,
    changed: watch::Sender<u64>,
    // Shards given away in which something still runs.
    pub(super) tails: RwLock<HashMap<(ShardId, Epoch), Arc<Shard>>>,
}

/// What an owner is to do.
#[derive(Default)]
pub(super) struct Todo {
    /// Serve the shard in this epoch, with what is stored of it.
    pub(super) load: Option<Epoch>,
    /// Give it away.
    pub(super) give: Option<Plan<Owner>>,
}

/// One shard's machine, and what its driver remembers.
#[derive(Default)]
pub(super) struct Seat {
    pub(super) holding: Holding<Owner>,
    /// The last planned move that came to nothing here.
    pub(super) resumed: Option<Epoch>,
    /// The last planned move that was begun here.
    begun: Option<Epoch>,
    /// Who may give this shard, in which epoch.
    pub(super) expected: Option<(Owner, Epoch)>,
    /// What was sent before the grant of that epoch.
    pub(super) copies: Option<(Epoch, Arc<Copies>)>,
}

impl Handoffs {
    pub(crate) fn new(
        host: Arc<Host>,
        me: Owner,
        cluster: String,
        membership: Membership,
        kept: Kept,
        storage: Option<Storage>,
    ) -> Self {
        let seats = host.places().map(|_| Mutex::default()).collect();
        Self {
            host,
            me,
            cluster,
            membership,
            kept,
            storage,
            seats,
            changed: watch::Sender::new(0),
            tails: RwLock::default(),
        }
    }

    /// What the controller is told of this process.
    pub(crate) const fn setup(&self) -> &Setup {
        &self.membership.setup
    }

    /// Whether a controller has taken this process in.
    pub(crate) fn has_joined(&self) -> bool {
        let map = self.membership.register.borrow();
        map.as_ref()
            .is_some_and(|map| map.addresses().contains_key(&self.me))
    }

    /// The register names this worker; gives what is to be done about it.
    pub(super) fn own(&self, shard: ShardId, entry: &Entry<Owner>) -> Todo {
        let mut seat = self.seats[shard.index()].lock();
        let mut todo = Todo::default();
        if seat.holding.claim(entry.epoch()).is_ok() {
            self.supersede(shard);
            match self.storage {
                Some(_) => {
                    // Should this worker die of it, it is known that it took it.
                    self.tell_controller();
                    todo.load = Some(entry.epoch());
                }
                // Nobody gave it: what earlier owners deleted is not known.
                None => {
                    self.activate(&mut seat, Arc::new(Shard::new(shard, entry.epoch())));
                }
            }
        }
        let serves = seat.holding.serving() == Some(entry.epoch());
        if let Some(plan) = entry.plan().filter(|_| serves)
            && seat.begun.max(seat.holding.spent()) < Some(plan.epoch)
        {
            seat.begun = Some(plan.epoch);
            todo.give = Some(plan.clone());
        }
        todo
    }

    /// What was held in an earlier epoch is not what is served now: what runs there
    /// runs to its end, and its standing streams begin anew.
    fn supersede(&self, shard: ShardId) {
        if let Some(before) = self.host.place_of(shard).shard() {
            if let Some(ledger) = before.ledger() {
                // Until the shard is loaded, nothing is admitted that it would not know.
                self.host.place_of(shard).give(None);
                ledger.close();
            }
            self.keep_tails(&before);
            before.moved.cancel();
        }
    }

    /// The register names another, or nobody.
    pub(super) fn lose(&self, shard: ShardId, entry: &Entry<Owner>) {
        let mut seat = self.seats[shard.index()].lock();
        let planned = entry.plan().map(|plan| plan.epoch);
        // A map from before the plan says nothing of it.
        let is_over = |epoch| entry.spent() >= epoch && Some(epoch) != planned;
        seat.copies.take_if(|(epoch, _)| is_over(*epoch));
        let was_granted = matches!(seat.holding.phase(), Phase::Granted(_));
        if seat.holding.superseded(entry.epoch()) {
            self.leave(shard, successor(entry), was_granted);
            self.tell_controller();
        }
    }

    /// Serves a shard whose epoch the machine has claimed; `false` where something newer
    /// has come in between.
    pub(super) fn activate(&self, seat: &mut Seat, shard: Arc<Shard>) -> bool {
        let (id, epoch) = (shard.id, shard.epoch);
        if seat.holding.activate(epoch).is_err() {
            return false;
        }
        seat.copies = None;
        // Before anything can be admitted.
        step("activated", id, epoch);
        let ledger = shard.ledger().cloned();
        tokio::spawn(restart::watch(Arc::clone(&shard), self.changed.clone()));
        self.host.place_of(id).serve(shard);
        if let Some(ledger) = ledger {
            ledger.journal().served();
        }
        self.host.edges.active(id, epoch);
        tracing::debug!(shard = id.get(), epoch = epoch.get(), "serving");
        self.tell_controller();
        true
    }

    /// Serves a shard no more. Its standing streams go on at the new owner; calls
    /// run to their end where the shard was given away, and have no owner to
    /// speak for them where it was taken.
    pub(super) fn leave(&self, shard: ShardId, to: Option<Successor>, was_granted: bool) {
        let worker = to.as_ref().map(|to| to.worker.as_str());
        let epoch = to.as_ref().map(|to| to.epoch.get());
        tracing::trace!(target: STEPS, step = "left", shard = shard.get(), epoch);
        tracing::debug!(shard = shard.get(), epoch, to = worker, "served elsewhere");
        let Some(left) = self.host.place_of(shard).give(to) else {
            return;
        };
        if was_granted {
            self.keep_tails(&left);
        } else {
            left.deposed.cancel();
        }
        left.moved.cancel();
    }

    /// Remembers a shard that was given away as long as something runs in it.
    pub(super) fn keep_tails(&self, shard: &Arc<Shard>) {
        let key = (shard.id, shard.epoch);
        self.tails.write().insert(key, Arc::clone(shard));
    }

    /// What this worker holds, for its controller.
    pub(crate) fn held(&self) -> Vec<Held> {
        let seats = self.host.places().zip(&self.seats);
        seats
            .map(|(shard, seat)| self.held_of(shard, &seat.lock()))
            .collect()
    }

    fn held_of(&self, shard: ShardId, seat: &Seat) -> Held {
        let busy = self.host.busy.as_ref();
        let served = self.host.place_of(shard).shard();
        let failed = served.filter(|shard| shard.has_failed());
        Held {
            load: busy.map_or(0, |busy| busy.load(shard)),
            failed: failed.map_or(0, |shard| shard.epoch.get()),
            ..held(shard, seat)
        }
    }

    /// News of what this worker holds.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Waits until nobody takes this worker for an owner, itself and the register
    /// (invariant I11). Where it is the last one, another is waited for, for a while.
    pub(crate) async fn handed_over(&self) {
        let mut changes = self.changes();
        let mut register = self.membership.register.clone();
        let lonely = tokio::time::sleep(LONELY);
        tokio::pin!(lonely);
        while self.must_hand_over() {
            tokio::select! {
                _ = changes.changed() => {}
                // Without its source the register stays as it is.
                Ok(()) = register.changed() => {}
                () = &mut lonely, if !self.has_peers() => {
                    let shards = self.held_count();
                    tracing::warn!(shards, "no other worker has come within {LONELY:?}: nobody serves the shards until one does");
                    return;
                }
            }
        }
    }

    fn has_peers(&self) -> bool {
        let is_other = |owner: &Owner| owner.worker != self.me.worker;
        self.map()
            .is_some_and(|map| map.addresses().keys().any(is_other))
    }

    /// Whether somebody takes this worker for an owner whose shards others are to get.
    pub(crate) fn must_hand_over(&self) -> bool {
        self.membership.hands_over && (self.held_count() > 0 || self.is_named())
    }

    /// Shards that are held here in any way.
    pub(crate) fn held_count(&self) -> usize {
        let is_held = |seat: &&Mutex<Seat>| !matches!(seat.lock().holding.phase(), Phase::Absent);
        self.seats.iter().filter(is_held).count()
    }

    /// Whether the register has a shard here. One that it plans to bring here is
    /// waited for: it may have been given already. One in quarantine is nobody's.
    fn is_named(&self) -> bool {
        let names = |entry: &Entry<Owner>| {
            let taker = entry.plan().map(|plan| &plan.to);
            let is_mine = [Some(entry.owner()), taker].contains(&Some(&self.me));
            is_mine && !entry.is_quarantined()
        };
        self.map()
            .is_some_and(|map| map.entries().any(|(_, entry)| names(entry)))
    }

    pub(super) fn tell_controller(&self) {
        self.changed.send_modify(|change| *change += 1);
    }

    /// The map as the register has told it last.
    pub(crate) fn map(&self) -> Option<Arc<RegisterMap>> {
        self.membership.register.borrow().clone()
    }

    /// What this worker knows of the map: as [`Self::map`], above every epoch that it has
    /// used or heard of. A register that was put back from a backup knows less.
    pub(crate) fn known(&self) -> Option<RegisterMap> {
        let seen = |shard: ShardId| self.seats[shard.index()].lock().holding.spent();
        Some(self.map()?.above(seen))
    }

    /// The way to another worker, while the register knows one.
    pub(super) fn address(&self, owner: &Owner) -> Option<WorkerAddress> {
        let map = self.map()?;
        let address = map.addresses().get(owner)?;
        Some((self.membership.dial)(address))
    }

    /// The way to the giver of a move.
    pub(super) fn address_of(&self, named: &Move) -> Option<WorkerAddress> {
        self.address(&Owner {
            worker: named.from.parse().ok()?,
            incarnation: Incarnation::new(named.from_incarnation)?,
        })
    }

    pub(super) fn message(&self, shard: ShardId, epoch: Epoch, from: &Owner, to: &Owner) -> Move {
        Move {
            cluster: self.cluster.clone(),
            shards: u32::from(self.host.count().get()),
            shard: shard.get().into(),
            epoch: epoch.get(),
            from: from.worker.to_string(),
            from_incarnation: from.incarnation.get(),
            to: to.worker.to_string(),
            to_incarnation: to.incarnation.get(),
            state_format: STATE_FORMAT,
        }
    }
}

/// Tells a step of the protocol.
pub(super) fn step(step: &'static str, shard: ShardId, epoch: Epoch) {
    tracing::trace!(target: STEPS, step, shard = shard.get(), epoch = epoch.get());
}

/// Who serves the shard; nobody where it is in quarantine.
fn successor(entry: &Entry<Owner>) -> Option<Successor> {
    (!entry.is_quarantined()).then(|| Successor {
        worker: entry.owner().worker.clone(),
        epoch: entry.epoch(),
    })
}

fn held(shard: ShardId, seat: &Seat) -> Held {
    let (phase, epoch) = match seat.holding.phase() {
        Phase::Absent => (admin::Phase::Absent, None),
        Phase::Claiming(epoch) => (admin::Phase::Claiming, Some(*epoch)),
        Phase::Serving(epoch) => (admin::Phase::Serving, Some(*epoch)),
        Phase::Frozen { epoch, .. } => (admin::Phase::Frozen, Some(*epoch)),
        Phase::Granted(plan) => (admin::Phase::Granted, Some(plan.epoch)),
    };
    let number = |epoch: Option<Epoch>| epoch.map_or(0, Epoch::get);
    Held {
        shard: shard.get().into(),
        phase: phase.into(),
        epoch: number(epoch),
        spent: number(seat.holding.spent()),
        resumed: number(seat.resumed),
        ..Held::default()
    }
}
