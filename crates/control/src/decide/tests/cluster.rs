//! A cluster whose workers do at once what the map says.

use std::collections::BTreeMap;
use std::time::Duration;

use hexagram_core::placement::Memory;
use hexagram_core::{
    Entry, Epoch, Holding, Incarnation, Owner, Phase, RegisterMap, ShardId, WorkerId,
};
use hexagram_proto::admin;

use super::super::{Change, Decision, Hold, Suspicions, View};
use crate::fleet::{Fleet, Held, Report};
use crate::testing::{epoch, held, introduced, map, owner, report};

pub(super) const SHARDS: u16 = 32;
/// Between two decisions where nothing is heard.
pub(super) const LOOK: Duration = Duration::from_millis(250);

pub(super) struct Cluster {
    pub(super) map: RegisterMap,
    pub(super) fleet: Fleet,
    pub(super) drains: BTreeMap<WorkerId, Incarnation>,
    pub(super) memory: Memory,
    pub(super) suspicions: Suspicions,
    pub(super) hold: Hold,
    pub(super) now: Duration,
    /// Between two decisions.
    pub(super) look: Duration,
    /// The epochs in which shards' own code failed.
    failed: BTreeMap<ShardId, Epoch>,
    pub(super) loads: BTreeMap<ShardId, u64>,
    pub(super) life: u64,
    pub(super) workers: BTreeMap<Owner, BTreeMap<ShardId, Holding<Owner>>>,
}

impl Cluster {
    pub(super) fn new() -> Self {
        let first = owner(0, 1);
        let entries = vec![Entry::new(first.clone(), epoch(1)); usize::from(SHARDS)];
        let mut this = Self {
            map: map(1, entries),
            fleet: Fleet::default(),
            drains: BTreeMap::new(),
            memory: Memory::default(),
            suspicions: Suspicions::default(),
            hold: Hold::default(),
            now: Duration::ZERO,
            look: LOOK,
            failed: BTreeMap::new(),
            loads: BTreeMap::new(),
            life: 1,
            workers: BTreeMap::new(),
        };
        this.join(first);
        this
    }

    /// Somebody wants it to be empty.
    pub(super) fn drain(&mut self, owner: Owner) {
        self.drains.insert(owner.worker, owner.incarnation);
    }

    pub(super) fn join(&mut self, owner: Owner) {
        self.fleet.join(&introduced(&owner)).unwrap();
        self.workers.insert(owner, BTreeMap::new());
        self.obey();
    }

    pub(super) fn living(&self, worker: u8) -> Option<Owner> {
        let name = owner(worker, 1).worker;
        self.workers
            .keys()
            .find(|owner| owner.worker == name)
            .cloned()
    }

    pub(super) fn rise(&mut self, worker: u8) {
        self.life += 1;
        self.join(owner(worker, self.life));
    }

    pub(super) fn die(&mut self, worker: u8) {
        if let Some(owner) = self.vanish(worker) {
            self.fleet.died(&owner);
        }
    }

    /// A worker dies, and nobody has heard of it yet.
    pub(super) fn vanish(&mut self, worker: u8) -> Option<Owner> {
        let owner = self.living(worker)?;
        self.workers.remove(&owner);
        Some(owner)
    }

    /// A worker that was told to end has ended, with shards that nobody took in time.
    /// Nobody has heard of it yet.
    pub(super) fn end(&mut self, worker: u8) -> Option<Owner> {
        let owner = self.living(worker)?;
        let last = Report {
            draining: true,
            ..self.told(self.workers.get(&owner)?)
        };
        self.fleet.reported(&owner, last);
        self.vanish(worker)
    }

    /// The code of a shard fails at its owner.
    pub(super) fn fail(&mut self, shard: ShardId) {
        self.failed.insert(shard, self.map.entry(shard).epoch());
        self.obey();
    }

    /// The living owner that serves a shard as the map says.
    pub(super) fn serves(&self, shard: ShardId) -> Option<Owner> {
        let entry = self.map.entry(shard);
        let holding = self.workers.get(entry.owner())?.get(&shard)?;
        (holding.serving() == Some(entry.epoch())).then(|| entry.owner().clone())
    }

    /// How many shards the map gives to a worker.
    pub(super) fn count(&self, worker: u8) -> usize {
        let name = owner(worker, 1).worker;
        let own = self
            .map
            .entries()
            .filter(|(_, entry)| entry.owner().worker == name && !entry.is_quarantined());
        own.count()
    }

    pub(super) fn view(&self) -> View<'_> {
        View {
            map: &self.map,
            fleet: &self.fleet,
            drains: &self.drains,
            memory: &self.memory,
            suspicions: &self.suspicions,
            hold: &self.hold,
            now: self.now,
        }
    }

    /// A decision and what follows from it; gives whether anything changed.
    pub(super) fn round(&mut self) -> bool {
        self.hold.look(&self.fleet, self.now);
        let Decision {
            changes,
            memory,
            suspicions,
        } = self.view().decide();
        (self.memory, self.suspicions) = (memory, suspicions);
        self.now += self.look;
        self.apply(&changes);
        self.within_budget();
        !changes.is_empty()
    }

    /// What follows from these changes.
    pub(super) fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            let before = self.map.entry(change.shard);
            assert!(change.entry.epoch() >= before.epoch(), "I4");
            assert!(change.entry.spent() >= before.spent(), "I4");
            let next = self.map.change(change.shard, |_| Ok(change.entry.clone()));
            self.map = next.unwrap();
        }
        self.obey();
    }

    fn within_budget(&self) {
        let plans = || {
            self.map
                .entries()
                .filter(|(_, entry)| entry.plan().is_some())
        };
        assert!(plans().count() <= 8);
        for owner in self.workers.keys() {
            let of = |entry: &Entry<Owner>| {
                entry.owner() == owner || entry.plan().is_some_and(|plan| plan.to == *owner)
            };
            assert!(plans().filter(|(_, entry)| of(entry)).count() <= 2);
        }
    }

    /// Workers claim what is theirs, grant what is planned, and report.
    pub(super) fn obey(&mut self) {
        for (shard, entry) in self.map.entries() {
            for (owner, holdings) in &mut self.workers {
                let holding = holdings.entry(shard).or_default();
                if owner != entry.owner() || entry.is_quarantined() {
                    holding.superseded(entry.epoch());
                } else if holding.claim(entry.epoch()).is_ok() {
                    holding.activate(entry.epoch()).unwrap();
                }
            }
            if let Some(plan) = entry.plan()
                && self.workers.contains_key(&plan.to)
                && let Some(giver) = self.workers.get_mut(entry.owner())
                && giver
                    .get_mut(&shard)
                    .is_some_and(|h| h.freeze(plan.clone()).is_ok())
            {
                giver.get_mut(&shard).unwrap().grant().unwrap();
                let taker = self
                    .workers
                    .get_mut(&plan.to)
                    .unwrap()
                    .entry(shard)
                    .or_default();
                taker.claim(plan.epoch).unwrap();
                taker.activate(plan.epoch).unwrap();
            }
        }
        for (owner, holdings) in &self.workers {
            self.fleet.reported(owner, self.told(holdings));
        }
    }

    /// What a worker reports that holds this.
    fn told(&self, holdings: &BTreeMap<ShardId, Holding<Owner>>) -> Report {
        let told = |(shard, holding): (&ShardId, &Holding<Owner>)| {
            let (phase, epoch) = match holding.phase() {
                Phase::Absent => (admin::Phase::Absent, None),
                Phase::Claiming(epoch) => (admin::Phase::Claiming, Some(*epoch)),
                Phase::Serving(epoch) => (admin::Phase::Serving, Some(*epoch)),
                Phase::Frozen { epoch, .. } => (admin::Phase::Frozen, Some(*epoch)),
                Phase::Granted(plan) => (admin::Phase::Granted, Some(plan.epoch)),
            };
            let failed = self.failed.get(shard).copied();
            let held = Held {
                epoch,
                spent: holding.spent(),
                failed: failed.filter(|failed| epoch == Some(*failed)),
                load: self.loads.get(shard).copied().unwrap_or_default(),
                ..held(phase, 0)
            };
            (*shard, held)
        };
        let shards: Vec<_> = holdings.iter().map(told).collect();
        report(&shards)
    }
}
