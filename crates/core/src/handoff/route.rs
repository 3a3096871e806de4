//! What an edge knows of one shard.

use crate::Epoch;

/// An edge's way to a shard: the owner with the highest epoch seen. What it is
/// told may come late, twice or out of order; it never goes back (invariant I4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route<O> {
    owner: O,
    epoch: Option<Epoch>,
    moving: bool,
}

impl<O: PartialEq> Route<O> {
    /// The way as a map names it; a static map knows no epoch.
    pub const fn new(owner: O, epoch: Option<Epoch>) -> Self {
        Self {
            owner,
            epoch,
            moving: false,
        }
    }

    /// The owner.
    pub const fn owner(&self) -> &O {
        &self.owner
    }

    /// The owner's epoch, once heard of.
    pub const fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    /// Whether the owner admits nothing now: messages are to be parked.
    pub const fn is_moving(&self) -> bool {
        self.moving
    }

    /// `owner` serves in `epoch`: the register, a Hello, an `Active` or a
    /// redirect says so. Gives whether that is news.
    pub fn learn(&mut self, owner: O, epoch: Epoch) -> bool {
        let news = self.epoch < Some(epoch);
        if news {
            *self = Self::new(owner, Some(epoch));
        }
        news
    }

    /// The owner in `epoch` admits nothing for now. The epoch stays: it may
    /// still resume (invariant I5).
    pub fn moving(&mut self, epoch: Epoch) -> bool {
        let news = self.epoch == Some(epoch) && !self.moving;
        self.moving |= news;
        news
    }

    /// The owner in `epoch` admits again.
    pub fn resumed(&mut self, epoch: Epoch) -> bool {
        let news = self.epoch == Some(epoch) && self.moving;
        self.moving &= !news;
        news
    }
}
