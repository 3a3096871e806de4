//! Which claims were made through one store object.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use hexagram_core::{Epoch, ShardId};
use parking_lot::Mutex;

/// Tells one claim from every other, also from one of the same epoch. The store's head
/// has that of its last claim, and each group brings the one it was claimed with.
///
/// Groups are numbered anew with each claim. Without a ticket, a group of before a second
/// claim that arrives late, or a store that was rolled back to before it, would take one
/// group for another.
pub(crate) type Ticket = u64;

/// No claim's ticket.
const NONE: Ticket = 0;

/// The last claim of each shard.
#[derive(Debug)]
pub(crate) struct Tickets {
    next: AtomicU64,
    last: Mutex<HashMap<ShardId, (Epoch, Ticket)>>,
}

impl Tickets {
    /// Tickets from somewhere above zero. Where several objects are the same store, each
    /// begins somewhere at random, so that no two give the same ticket.
    pub(crate) fn from(somewhere: u64) -> Self {
        // There is room for 2^63 claims.
        let first = (somewhere >> 1) + 1;
        Self {
            next: AtomicU64::new(first),
            last: Mutex::default(),
        }
    }

    /// A ticket for a claim that is to be made.
    pub(crate) fn take(&self) -> Ticket {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Notes a claim that was answered; not if one begun later was answered before.
    pub(crate) fn note(&self, shard: ShardId, epoch: Epoch, ticket: Ticket) {
        let mut last = self.last.lock();
        if last.get(&shard).is_none_or(|&(_, known)| known < ticket) {
            last.insert(shard, (epoch, ticket));
        }
    }

    /// The ticket for a group of this owner; one that fits no head if it has not claimed.
    pub(crate) fn of(&self, shard: ShardId, epoch: Epoch) -> Ticket {
        match self.last.lock().get(&shard) {
            Some(&(claimed, ticket)) if claimed == epoch => ticket,
            _ => NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use hexagram_core::ShardCount;

    use super::*;

    #[test]
    fn a_late_answer_does_not_displace_a_later_claim() {
        let shard = ShardCount::default().shard(3).unwrap();
        let later = Epoch::FIRST.next().unwrap();
        let tickets = Tickets::from(u64::MAX);
        let (first, second) = (tickets.take(), tickets.take());
        tickets.note(shard, later, second);
        tickets.note(shard, Epoch::FIRST, first);
        assert_eq!(tickets.of(shard, later), second);
        assert_eq!(tickets.of(shard, Epoch::FIRST), NONE);
    }

    #[test]
    fn a_wiped_store_may_be_claimed_in_an_earlier_epoch() {
        let shard = ShardCount::default().shard(3).unwrap();
        let tickets = Tickets::from(0);
        tickets.note(shard, Epoch::FIRST.next().unwrap(), tickets.take());
        let ticket = tickets.take();
        tickets.note(shard, Epoch::FIRST, ticket);
        assert_eq!(tickets.of(shard, Epoch::FIRST), ticket);
    }
}
