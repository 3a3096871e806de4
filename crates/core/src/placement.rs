//! Placement: which worker should own which shard (DESIGN section 9).
//!
//! Here the first rule: new shards go by rendezvous order with a bound on the
//! count. It knows no previous map and no loads, so anybody who knows the
//! workers' names computes the same map. Shards that have an owner are moved by
//! [`place`], which knows both.

mod balance;
mod budget;
mod drain;
mod fill;
mod layout;
mod memory;

pub use budget::Budget;
pub use layout::{Candidate, Hosted, Layout};
pub use memory::Memory;

use std::hash::{Hash, Hasher};

use rendezvous_hash::{KeyValueNode, NodeHasher, RendezvousNodes};
use thiserror::Error;
use xxhash_rust::xxh3::Xxh3;

use crate::{Assignment, ShardCount, ShardId, ShardMap, WorkerId};

#[cfg(test)]
mod tests;

/// A shard that is to go to another worker. Both are places in the layout's list
/// of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The shard.
    pub shard: ShardId,
    /// Its owner.
    pub from: usize,
    /// Its next owner.
    pub to: usize,
    /// The reason.
    pub why: Motive,
}

/// Why placement moves a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motive {
    /// Its owner is to be empty.
    Drain,
    /// Its next owner is new and has less than its share.
    Fill,
    /// Its owner is busier than others.
    Load,
}

/// Which moves to begin now, and what to remember until the next time.
///
/// First the workers that are to be empty, then the new ones: neither waits for
/// anything but the budget of moves under way. What is left is balanced by load
/// once for each [`Memory::tick`], and rests while workers drain or fill.
///
/// Asked again with the layout that its moves lead to, it comes to an end: with
/// the same loads there is a time from which it moves nothing.
#[must_use]
pub fn place(mut layout: Layout, mut budget: Budget, mut memory: Memory) -> (Vec<Move>, Memory) {
    let mut moves = drain::drain(&mut layout, &mut budget);
    moves.extend(fill::fill(&mut layout, &mut budget, &mut memory));
    if !moves.is_empty() || layout.is_draining() || memory.is_filling() {
        memory.settle();
    } else if memory.take_tick() {
        moves.extend(balance::balance(&mut layout, &mut budget, &mut memory));
    }
    (moves, memory)
}

/// Workers that no shard can be placed on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlacementError {
    /// There are none.
    #[error("no workers to place shards on: start or name at least one")]
    NoWorkers,
    /// Two have the same name.
    #[error("two workers are named {0}: give each its own name")]
    DuplicateName(WorkerId),
}

/// Places all shards: each takes the first worker in its own rendezvous order
/// that has room, and room is the floor or ceiling of `count / workers`. Epochs
/// are not learnt yet.
///
/// The order of `workers` does not matter. One more worker moves its own share
/// and, beyond it, few shards: those that the bound pushed off their first
/// choice before or after. With fewer shards than workers some own none.
///
/// # Errors
/// If there is no worker, or a name comes twice.
///
/// ```
/// use hexagram_core::{ShardCount, WorkerId, spread};
/// let workers = ["worker-0", "worker-1", "worker-2"].map(|name| name.parse().unwrap());
/// let map = spread(1, ShardCount::default(), &workers)?;
/// let counts: Vec<usize> = map.shards_per_worker().into_values().collect();
/// assert_eq!(counts.iter().sum::<usize>(), 64);
/// assert!(counts.iter().all(|count| (21..=22).contains(count)));
/// # Ok::<(), hexagram_core::PlacementError>(())
/// ```
pub fn spread(
    version: u64,
    count: ShardCount,
    workers: &[WorkerId],
) -> Result<ShardMap, PlacementError> {
    if workers.is_empty() {
        return Err(PlacementError::NoWorkers);
    }
    let nodes = candidates(workers)?;
    let mut room = Room::new(usize::from(count.get()), workers.len());
    Ok(ShardMap::build(version, count, |shard| {
        let chosen = nodes
            .calc_candidates(&Item(shard))
            .find(|worker| room.take(worker.value))
            .expect("there is room for every shard: all rooms add up to the count");
        Assignment {
            owner: chosen.key.clone(),
            epoch: None,
            quarantined: false,
        }
    }))
}

/// Who is given `shard`, whose owner is lost: of the open workers that `may_take` it
/// the first in its rendezvous order that has room for the count, else the one with
/// the fewest shards.
#[must_use]
pub fn adopter(
    layout: &Layout,
    shard: ShardId,
    shards: ShardCount,
    may_take: impl Fn(usize) -> bool,
) -> Option<usize> {
    let mut order = layout.preference(shard);
    let room = usize::from(shards.get()).div_ceil(order.len().max(1));
    order.retain(|place| may_take(*place));
    let has_room = |place: &&usize| layout.count(**place) < room;
    let fewest = || order.iter().min_by_key(|place| layout.count(**place));
    order.iter().find(has_room).or_else(fewest).copied()
}

/// The places in `workers` in the order in which `shard` prefers them: its
/// rendezvous order, whatever the order of the list.
///
/// # Errors
/// If a name comes twice.
pub fn preference(shard: ShardId, workers: &[WorkerId]) -> Result<Vec<usize>, PlacementError> {
    let nodes = candidates(workers)?;
    let places = nodes.calc_candidates(&Item(shard));
    Ok(places.map(|worker| worker.value).collect())
}

/// A worker and its place in the list.
type Node<'a> = KeyValueNode<&'a WorkerId, usize>;

fn candidates(workers: &[WorkerId]) -> Result<RendezvousNodes<Node<'_>, Stable>, PlacementError> {
    let mut nodes = RendezvousNodes::new(Stable);
    for (place, worker) in workers.iter().enumerate() {
        if nodes.insert(KeyValueNode::new(worker, place)).is_some() {
            return Err(PlacementError::DuplicateName(worker.clone()));
        }
    }
    Ok(nodes)
}

/// xxh3_64 over the shard and the worker's name: the same in every release and
/// on every machine, which the crate's default hasher does not promise.
struct Stable;

impl NodeHasher<&WorkerId> for Stable {
    fn hash<T: Hash>(&self, worker: &&WorkerId, item: &T) -> u64 {
        let mut hasher = Xxh3::new();
        item.hash(&mut hasher);
        hasher.update(worker.as_str().as_bytes());
        hasher.digest()
    }
}

/// A shard that hashes as two big-endian bytes; the derived `Hash` of a number
/// follows the machine's byte order.
struct Item(ShardId);

impl Hash for Item {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0.get().to_be_bytes());
    }
}

/// How many more shards each worker may take.
struct Room {
    taken: Vec<usize>,
    floor: usize,
    /// How many workers may still go one above the floor.
    extra: usize,
}

impl Room {
    fn new(shards: usize, workers: usize) -> Self {
        Self {
            taken: vec![0; workers],
            floor: shards / workers,
            extra: shards % workers,
        }
    }

    /// Takes a place at `worker` if there is one.
    fn take(&mut self, worker: usize) -> bool {
        let taken = &mut self.taken[worker];
        if *taken == self.floor && self.extra > 0 {
            self.extra -= 1;
        } else if *taken >= self.floor {
            return false;
        }
        *taken += 1;
        true
    }
}
