//! Who has which shard, and how much each of them weighs: what placement looks at.

use std::collections::BTreeMap;

use super::{Move, preference};
use crate::{ShardId, WorkerId};

/// Below this share of its capacity no worker has too much to do.
pub(super) const IDLE: f64 = 0.2;
/// Every shard weighs so much of the mean, for the clients that it will have.
const RESERVED: f64 = 0.01;

/// A worker that has shards or may be given some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub worker: WorkerId,
    /// What it can do, in the unit of the shards' loads; 0 where it does not say. Then
    /// loads are left aside, for what it has to do is not known either.
    pub capacity: u64,
    /// Whether it may be given shards. One that may not, and whose shards can
    /// move, is emptied.
    pub is_open: bool,
}

/// A shard and its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hosted {
    /// The owner, as a place in the list of workers. Of a moving shard the next.
    pub at: usize,
    /// What it takes of its worker's capacity.
    pub load: u64,
    /// Whether it may move now.
    pub can_move: bool,
}

/// Who has which shard. Shards weigh what they take of their worker; while no
/// worker has much to do, each weighs the same and each worker carries the same.
#[derive(Clone, Debug)]
pub struct Layout {
    workers: Vec<Carrier>,
    shards: BTreeMap<ShardId, Hosted>,
    is_busy: bool,
    reserved: f64,
}

#[derive(Clone, Debug)]
struct Carrier {
    candidate: Candidate,
    count: usize,
    weight: f64,
}

impl Layout {
    /// The layout of `shards` on `workers`; a shard at a place that is not in the
    /// list is left out.
    #[must_use]
    pub fn new(
        workers: Vec<Candidate>,
        shards: impl IntoIterator<Item = (ShardId, Hosted)>,
    ) -> Self {
        let carrier = |candidate| Carrier {
            candidate,
            count: 0,
            weight: 0.0,
        };
        let mut this = Self {
            workers: workers.into_iter().map(carrier).collect(),
            shards: BTreeMap::new(),
            is_busy: false,
            reserved: 0.0,
        };
        let known = this.workers.len();
        this.shards = shards
            .into_iter()
            .filter(|(_, hosted)| hosted.at < known)
            .collect();
        this.weigh();
        this
    }

    fn weigh(&mut self) {
        let mut loads = vec![0; self.workers.len()];
        for hosted in self.shards.values() {
            loads[hosted.at] += hosted.load;
        }
        let used = |(load, carrier): (&u64, &Carrier)| *load as f64 / carrier.capacity();
        let mut used = loads.iter().zip(&self.workers).map(used);
        self.is_busy = self.says_all() && used.any(|used| used >= IDLE);
        let mean = loads.iter().sum::<u64>() as f64 / self.shards.len().max(1) as f64;
        self.reserved = RESERVED * mean;
        let weights: Vec<_> = self
            .shards
            .values()
            .map(|hosted| (hosted.at, self.weight_of(hosted)))
            .collect();
        for (at, weight) in weights {
            self.workers[at].count += 1;
            self.workers[at].weight += weight;
        }
    }

    /// Whether each worker says what it can do.
    fn says_all(&self) -> bool {
        let mut open = self
            .workers
            .iter()
            .filter(|carrier| carrier.candidate.is_open);
        open.all(|carrier| carrier.candidate.capacity > 0)
    }

    fn weight_of(&self, hosted: &Hosted) -> f64 {
        match self.is_busy {
            true => hosted.load as f64 + self.reserved,
            false => 1.0,
        }
    }

    /// The busiest open worker's load for the mean of all, each for what it can do: 1
    /// is perfect. `None` while nobody has so much to do that it matters, or one does not
    /// say.
    #[must_use]
    pub fn imbalance(&self) -> Option<f64> {
        let mut loads = vec![0.0; self.workers.len()];
        for hosted in self.shards.values() {
            loads[hosted.at] += hosted.load as f64;
        }
        let capacity = |at: &usize| self.workers[*at].capacity();
        let capacities: f64 = self.open().map(|at| capacity(&at)).sum();
        let mean = loads.iter().sum::<f64>() / capacities;
        let levels = self.open().map(|at| loads[at] / capacity(&at));
        let busiest = levels.max_by(f64::total_cmp)?;
        self.is_busy.then(|| busiest / mean)
    }

    /// Whether any worker has so much to do that loads matter.
    pub(super) const fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Whether shards are to leave a worker, or cannot.
    pub(super) fn is_draining(&self) -> bool {
        let mut closed = self
            .workers
            .iter()
            .filter(|carrier| !carrier.candidate.is_open);
        closed.any(|carrier| carrier.count > 0)
    }

    /// The name at a place.
    pub(super) fn name(&self, at: usize) -> &WorkerId {
        &self.workers[at].candidate.worker
    }

    /// How many shards a worker has.
    pub(super) fn count(&self, at: usize) -> usize {
        self.workers[at].count
    }

    /// What a worker carries, for what it can carry.
    pub(super) fn level(&self, at: usize) -> f64 {
        self.workers[at].weight / self.capacity(at)
    }

    /// What a shard adds to a worker's level.
    pub(super) fn step(&self, shard: ShardId, at: usize) -> f64 {
        self.weight(shard) / self.capacity(at)
    }

    /// What a shard adds to a worker's level on average.
    pub(super) fn usual_step(&self, at: usize) -> f64 {
        self.total() / self.shards.len() as f64 / self.capacity(at)
    }

    /// What a shard weighs.
    pub(super) fn weight(&self, shard: ShardId) -> f64 {
        self.shards
            .get(&shard)
            .map_or(0.0, |hosted| self.weight_of(hosted))
    }

    fn capacity(&self, at: usize) -> f64 {
        match self.is_busy {
            true => self.workers[at].capacity(),
            false => 1.0,
        }
    }

    /// The level that all open workers would have if weights could be cut.
    pub(super) fn mean(&self) -> f64 {
        let capacity: f64 = self.open().map(|at| self.capacity(at)).sum();
        self.total() / capacity.max(1.0)
    }

    /// What all shards weigh.
    pub(super) fn total(&self) -> f64 {
        self.workers.iter().map(|carrier| carrier.weight).sum()
    }

    /// How many shards there are.
    pub(super) fn len(&self) -> usize {
        self.shards.len()
    }

    /// Workers that may be given shards.
    pub(super) fn open(&self) -> impl Iterator<Item = usize> {
        let workers = self.workers.iter().enumerate();
        workers.filter_map(|(at, carrier)| carrier.candidate.is_open.then_some(at))
    }

    /// Open workers, the one with the highest level first.
    pub(super) fn hottest(&self) -> Vec<usize> {
        let mut open: Vec<_> = self.open().collect();
        open.sort_by(|a, b| self.level(*b).total_cmp(&self.level(*a)));
        open
    }

    /// The shards of a worker.
    pub(super) fn shards(&self, at: usize) -> impl Iterator<Item = ShardId> {
        let all = self.shards.iter();
        all.filter_map(move |(shard, hosted)| (hosted.at == at).then_some(*shard))
    }

    /// Those of them that may move.
    pub(super) fn movable(&self, at: usize) -> impl Iterator<Item = ShardId> {
        let own = self.shards.iter();
        own.filter_map(move |(shard, hosted)| {
            (hosted.at == at && hosted.can_move).then_some(*shard)
        })
    }

    /// Shards that are to leave their worker, the heaviest first.
    pub(super) fn leaving(&self) -> Vec<ShardId> {
        let closed = |hosted: &Hosted| !self.workers[hosted.at].candidate.is_open;
        let leaving = self
            .shards
            .iter()
            .filter(|(_, hosted)| hosted.can_move && closed(hosted));
        let mut leaving: Vec<_> = leaving.map(|(shard, _)| *shard).collect();
        leaving.sort_by(|a, b| self.weight(*b).total_cmp(&self.weight(*a)));
        leaving
    }

    /// Where a shard is.
    pub(super) fn at(&self, shard: ShardId) -> Option<usize> {
        Some(self.shards.get(&shard)?.at)
    }

    /// The open workers in the order in which `shard` prefers them.
    pub(super) fn preference(&self, shard: ShardId) -> Vec<usize> {
        let open: Vec<_> = self.open().collect();
        let names: Vec<_> = open.iter().map(|at| self.name(*at).clone()).collect();
        // Of two with one name neither is preferred.
        let order = preference(shard, &names).unwrap_or_else(|_| (0..names.len()).collect());
        order.into_iter().map(|place| open[place]).collect()
    }

    /// How much `shard` prefers a worker: 0 is its favourite.
    pub(super) fn rank(&self, shard: ShardId, at: usize) -> usize {
        let mut order = self.preference(shard).into_iter();
        order.position(|place| place == at).unwrap_or(usize::MAX)
    }

    /// Gives `shard` to a worker, or a shard that nobody has. It rests there.
    pub fn put(&mut self, shard: ShardId, hosted: Hosted) {
        if let Some(before) = self.shards.remove(&shard) {
            let weight = self.weight_of(&before);
            self.workers[before.at].count -= 1;
            self.workers[before.at].weight -= weight;
        }
        let weight = self.weight_of(&hosted);
        self.workers[hosted.at].count += 1;
        self.workers[hosted.at].weight += weight;
        self.shards.insert(shard, hosted);
    }

    /// The layout as it will be after a move.
    pub(super) fn apply(&mut self, moved: Move) {
        if let Some(hosted) = self.shards.get(&moved.shard).copied() {
            let hosted = Hosted {
                at: moved.to,
                can_move: false,
                ..hosted
            };
            self.put(moved.shard, hosted);
        }
    }
}

impl Carrier {
    fn capacity(&self) -> f64 {
        self.candidate.capacity.max(1) as f64
    }
}
