//! Which claims were made through one store object.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use hexagram_core::{Epoch, ShardId};
use parking_lot::Mutex;

/// Tells one claim from every other, also from one of the same epoch. The store's head
/// has that of its last claim, and each group brings the one it was claimed with.
///
/// Groups are numbered anew with each claim. Without an id, a group of before a second
/// claim that arrives late, or a store that was rolled back to before it, would take one
/// group for another.
pub(crate) type ClaimId = u64;

/// No claim's id.
const NONE: ClaimId = 0;

/// The last claim of each shard.
#[derive(Debug)]
pub(crate) struct ClaimIds {
    next: AtomicU64,
    last: Mutex<HashMap<ShardId, (Epoch, ClaimId)>>,
}

impl ClaimIds {
    /// ClaimIds from somewhere above zero. Where several objects are the same store, each
    /// begins somewhere at random, so that no two give the same id.
    pub(crate) fn from(somewhere: u64) -> Self {
        // There is room for 2^63 claims.
        let first = (somewhere >> 1) + 1;
        Self {
            next: AtomicU64::new(first),
            last: Mutex::default(),
        }
    }

    /// An id for a claim that is to be made.
    pub(crate) fn take(&self) -> ClaimId {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Notes a claim that was answered; not if one begun later was answered before.
    pub(crate) fn note(&self, shard: ShardId, epoch: Epoch, id: ClaimId) {
        let mut last = self.last.lock();
        if last.get(&shard).is_none_or(|&(_, known)| known < id) {
            last.insert(shard, (epoch, id));
        }
    }

    /// The id for a group of this owner; one that fits no head if it has not claimed.
    pub(crate) fn of(&self, shard: ShardId, epoch: Epoch) -> ClaimId {
        match self.last.lock().get(&shard) {
            Some(&(claimed, id)) if claimed == epoch => id,
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
        let claim_ids = ClaimIds::from(u64::MAX);
        let (first, second) = (claim_ids.take(), claim_ids.take());
        claim_ids.note(shard, later, second);
        claim_ids.note(shard, Epoch::FIRST, first);
        assert_eq!(claim_ids.of(shard, later), second);
        assert_eq!(claim_ids.of(shard, Epoch::FIRST), NONE);
    }

    #[test]
    fn a_wiped_store_may_be_claimed_in_an_earlier_epoch() {
        let shard = ShardCount::default().shard(3).unwrap();
        let claim_ids = ClaimIds::from(0);
        claim_ids.note(shard, Epoch::FIRST.next().unwrap(), claim_ids.take());
        let id = claim_ids.take();
        claim_ids.note(shard, Epoch::FIRST, id);
        assert_eq!(claim_ids.of(shard, Epoch::FIRST), id);
    }
}
