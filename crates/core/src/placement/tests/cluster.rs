//! A cluster whose shards are at once where placement wants them.

use std::collections::BTreeMap;

use super::super::{Budget, Candidate, Hosted, Layout, Memory, Motive, Move, place, spread};
use crate::{ShardCount, ShardId, WorkerId};

pub(super) fn name(number: usize) -> WorkerId {
    format!("worker-{number}").parse().unwrap()
}

#[derive(Clone, Debug)]
pub(super) struct Cluster {
    pub(super) workers: Vec<Candidate>,
    pub(super) at: BTreeMap<ShardId, usize>,
    pub(super) loads: BTreeMap<ShardId, u64>,
    pub(super) memory: Memory,
}

impl Cluster {
    /// `shards` spread over `workers` of one capacity, without any load.
    pub(super) fn new(workers: usize, capacity: u64, shards: u16) -> Self {
        let count = ShardCount::try_from(shards).unwrap();
        let names: Vec<_> = (0..workers).map(name).collect();
        let spread = spread(1, count, &names).unwrap();
        let owner = |shard| {
            let owner = &spread.assignment(shard).owner;
            names.iter().position(|name| name == owner).unwrap()
        };
        let mut this = Self {
            workers: Vec::new(),
            at: count.iter().map(|shard| (shard, owner(shard))).collect(),
            loads: count.iter().map(|shard| (shard, 0)).collect(),
            memory: Memory::default(),
        };
        this.resize(workers, capacity);
        this
    }

    pub(super) fn with_loads(mut self, loads: impl IntoIterator<Item = u64>) -> Self {
        let shards: Vec<_> = self.loads.keys().copied().collect();
        self.loads = shards.into_iter().zip(loads).collect();
        self
    }

    /// Has `open` workers that may be given shards, and all others emptied.
    pub(super) fn resize(&mut self, open: usize, capacity: u64) {
        let known = open.max(self.workers.len());
        let candidate = |number| Candidate {
            worker: name(number),
            capacity,
            is_open: number < open,
        };
        self.workers = (0..known).map(candidate).collect();
    }

    pub(super) fn layout(&self) -> Layout {
        let hosted = |(shard, at): (&ShardId, &usize)| {
            let hosted = Hosted {
                at: *at,
                load: self.loads[shard],
                can_move: true,
            };
            (*shard, hosted)
        };
        Layout::new(self.workers.clone(), self.at.iter().map(hosted))
    }

    /// One decision, ten seconds after the last one.
    pub(super) fn round(&mut self) -> Vec<Move> {
        let memory = std::mem::take(&mut self.memory).tick();
        self.decide(memory)
    }

    fn decide(&mut self, memory: Memory) -> Vec<Move> {
        let (moves, memory) = place(self.layout(), Budget::default(), memory);
        self.memory = memory;
        for moved in &moves {
            assert_eq!(self.at.insert(moved.shard, moved.to), Some(moved.from));
        }
        moves
    }

    /// Decides until a while after the last move; gives all of them.
    pub(super) fn rest(&mut self) -> Vec<Move> {
        let (mut moves, mut quiet) = (Vec::new(), 0);
        for _ in 0..2_000 {
            let round = self.round();
            quiet = if round.is_empty() { quiet + 1 } else { 0 };
            moves.extend(round);
            if quiet > 40 {
                return moves;
            }
        }
        panic!("it never comes to rest");
    }

    pub(super) fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.workers.len()];
        self.at.values().for_each(|at| counts[*at] += 1);
        counts
    }

    /// What each worker carries, in the unit of the loads.
    pub(super) fn carried(&self) -> Vec<u64> {
        let mut carried = vec![0; self.workers.len()];
        for (shard, at) in &self.at {
            carried[*at] += self.loads[shard];
        }
        carried
    }

    pub(super) fn open(&self) -> usize {
        self.workers.iter().filter(|worker| worker.is_open).count()
    }

    /// The busiest worker's load for the mean of the open ones.
    pub(super) fn imbalance(&self) -> f64 {
        let carried = self.carried();
        let total: u64 = carried.iter().sum();
        let max = carried.into_iter().max().unwrap();
        max as f64 * self.open() as f64 / total as f64
    }
}

pub(super) fn by_load(moves: &[Move]) -> impl Iterator<Item = &Move> {
    moves.iter().filter(|moved| moved.why == Motive::Load)
}
