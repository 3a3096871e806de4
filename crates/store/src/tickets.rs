//! Which claims were made through one store object.

use std::collections::HashMap;

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
#[derive(Debug, Default)]
pub(crate) struct Tickets(Mutex<HashMap<ShardId, (Epoch, Ticket)>>);

impl Tickets {
    /// Notes a claim that was answered. An older one's late answer is left aside.
    pub(crate) fn note(&self, shard: ShardId, epoch: Epoch, ticket: Ticket) {
        let mut last = self.0.lock();
        if last.get(&shard).is_none_or(|&(known, _)| known <= epoch) {
            last.insert(shard, (epoch, ticket));
        }
    }

    /// The ticket for a group of this owner; one that fits no head if it has not claimed.
    pub(crate) fn of(&self, shard: ShardId, epoch: Epoch) -> Ticket {
        match self.0.lock().get(&shard) {
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
        let tickets = Tickets::default();
        tickets.note(shard, later, 8);
        tickets.note(shard, Epoch::FIRST, 7);
        assert_eq!(tickets.of(shard, later), 8);
        assert_eq!(tickets.of(shard, Epoch::FIRST), NONE);
    }
}
