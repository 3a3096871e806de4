//! What an edge knows of every shard: its owner, the owner's epoch and whether
//! it admits anything now.

#[cfg(test)]
mod tests;

use hexagram_core::{Assignment, Epoch, Route, ShardId, ShardMap, WorkerId};

/// What a worker says of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct News {
    /// The shard's number, as it came.
    pub(crate) shard: u32,
    pub(crate) epoch: Epoch,
    pub(crate) what: Change,
}

/// What has become of a shard in the epoch that the news name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// This worker serves it.
    Serves(WorkerId),
    /// Its owner admits nothing for now.
    Moving,
    /// Its owner admits again.
    Resumed,
}

/// The way to one shard.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    route: Route<WorkerId>,
    // A static map says who the owner is, and its Hello in which epoch: nobody
    // else may change the one or the other.
    fixed: bool,
}

/// The ways to all shards.
#[derive(Debug, Clone)]
pub(crate) struct Routes(Vec<Way>);

impl Way {
    fn new(assignment: &Assignment) -> Self {
        Self {
            route: Route::new(assignment.owner.clone(), assignment.epoch),
            fixed: assignment.epoch.is_none(),
        }
    }

    pub(crate) fn owner(&self) -> &WorkerId {
        self.route.owner()
    }

    pub(crate) fn epoch(&self) -> Option<Epoch> {
        self.route.epoch()
    }

    pub(crate) fn is_moving(&self) -> bool {
        self.route.is_moving()
    }

    /// Whether no other worker will ever serve the shard.
    pub(crate) fn is_fixed(&self) -> bool {
        self.fixed
    }

    /// The map says so. One with an older epoch (a register rolled back)
    /// changes nothing. `said` is the epoch that the owner has told.
    fn assign(&mut self, assignment: &Assignment, said: impl FnOnce(&WorkerId) -> Option<Epoch>) {
        let owner = &assignment.owner;
        match assignment.epoch {
            Some(_) if self.fixed => *self = Self::new(assignment),
            Some(epoch) => drop(self.route.learn(owner.clone(), epoch)),
            None if self.fixed && self.owner() != owner => {
                self.route = Route::new(owner.clone(), said(owner));
            }
            None => {}
        }
    }

    /// `worker` is linked and serves the shard in `epoch`, or not at all.
    fn greet(&mut self, worker: &WorkerId, epoch: Option<Epoch>) -> bool {
        let owns = self.owner() == worker;
        if self.fixed {
            if owns {
                self.route = Route::new(worker.clone(), epoch);
            }
            return owns;
        }
        let learnt = epoch.is_some_and(|epoch| self.route.learn(worker.clone(), epoch));
        learnt || (owns && self.ask_again())
    }

    /// The owner's link is new, so word of the move's end may have been lost
    /// with the old one: the next message finds out.
    fn ask_again(&mut self) -> bool {
        let epoch = self.epoch();
        epoch.is_some_and(|epoch| self.route.resumed(epoch))
    }

    fn hear(&mut self, epoch: Epoch, what: Change) -> bool {
        match what {
            Change::Serves(worker) if self.fixed && self.owner() != &worker => false,
            Change::Serves(worker) => self.route.learn(worker, epoch),
            Change::Moving => self.route.moving(epoch),
            Change::Resumed => self.route.resumed(epoch),
        }
    }
}

impl Routes {
    pub(crate) fn new(map: &ShardMap) -> Self {
        let way = |shard| Way::new(map.assignment(shard));
        Self(map.count().iter().map(way).collect())
    }

    /// The way to `shard`, which is one of the cluster's.
    pub(crate) fn way(&self, shard: ShardId) -> &Way {
        &self.0[shard.index()]
    }

    /// The ways in the shards' order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Way> {
        self.0.iter()
    }

    /// The ways whose epoch is a later one than it was `before`, by shard.
    pub(crate) fn later_than<'a>(
        &'a self,
        before: &'a Self,
    ) -> impl Iterator<Item = (usize, &'a Way)> {
        let both = self.0.iter().zip(&before.0).enumerate();
        let later = both.filter(|(_, (now, before))| now.epoch() > before.epoch());
        later.map(|(shard, (now, _))| (shard, now))
    }

    /// Follows a map, as far as it is news. `said` is the epoch of a shard that
    /// a worker told in its Hello.
    pub(crate) fn assign(
        &mut self,
        map: &ShardMap,
        said: impl Fn(&WorkerId, usize) -> Option<Epoch>,
    ) {
        for (way, shard) in self.0.iter_mut().zip(map.count().iter()) {
            way.assign(map.assignment(shard), |owner| said(owner, shard.index()));
        }
    }

    /// `worker` is linked; `epoch` says in which epoch it serves a shard. Gives
    /// whether anything changed.
    pub(crate) fn greet(
        &mut self,
        worker: &WorkerId,
        epoch: impl Fn(usize) -> Option<Epoch>,
    ) -> bool {
        let ways = self.0.iter_mut().enumerate();
        let changes = ways.map(|(index, way)| way.greet(worker, epoch(index)));
        changes.fold(false, |any, changed| any | changed)
    }

    /// Takes in what a worker said; gives whether it is news. A shard that the cluster lacks is ignored.
    pub(crate) fn hear(&mut self, news: News) -> bool {
        let way = self.0.get_mut(news.shard as usize);
        way.is_some_and(|way| way.hear(news.epoch, news.what))
    }
}
