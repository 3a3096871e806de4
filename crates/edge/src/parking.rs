//! How much may wait at the edge: messages whose shard has no owner for a
//! moment, and bodies that may have to be sent again (DESIGN 5a, 7).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hexagram_core::{ShardCount, ShardId};
use parking_lot::Mutex;
use prometheus::IntGauge;

/// Bytes parked for one shard, beyond which no further message is; the last one
/// may have any size.
const SHARD_BYTES: usize = 1 << 20;
/// Bytes parked in all.
const ALL_BYTES: usize = 64 << 20;
/// What a message costs beside its body, so that empty ones have an end too.
const MESSAGE_BYTES: usize = 256;
/// A longer body is not sent again after its worker was lost.
const KEPT_BODY: usize = 64 << 10;
/// Bytes of bodies kept in all.
const KEPT_BYTES: usize = 64 << 20;

/// Counts what waits.
#[derive(Debug)]
pub(crate) struct ParkingLot {
    counts: Mutex<Counts>,
    parked: IntGauge,
    kept: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Counts {
    shards: Vec<usize>,
    all: usize,
}

/// A message's place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Parked {
    lot: Arc<ParkingLot>,
    shard: ShardId,
    bytes: usize,
}

/// A kept body's place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Kept {
    kept: Arc<AtomicUsize>,
    bytes: usize,
}

impl ParkingLot {
    /// An empty one; `parked` shows how many messages wait.
    pub(crate) fn new(shards: ShardCount, parked: IntGauge) -> Self {
        let shards = vec![0; usize::from(shards.get())];
        Self {
            counts: Mutex::new(Counts { shards, all: 0 }),
            parked,
            kept: Arc::default(),
        }
    }

    /// Parks a message with a body of `body` bytes; `None` where it is full.
    pub(crate) fn park(self: &Arc<Self>, shard: ShardId, body: usize) -> Option<Parked> {
        let bytes = body + MESSAGE_BYTES;
        if !self.counts.lock().add(shard, bytes) {
            return None;
        }
        self.parked.inc();
        Some(Parked {
            lot: Arc::clone(self),
            shard,
            bytes,
        })
    }

    /// Keeps a body of `bytes` for as long as it may have to be sent again;
    /// `None` where it is too long or too much is kept already.
    pub(crate) fn keep(&self, bytes: usize) -> Option<Kept> {
        if bytes > KEPT_BODY {
            return None;
        }
        let before = self.kept.fetch_add(bytes, Ordering::Relaxed);
        let kept = Kept {
            kept: Arc::clone(&self.kept),
            bytes,
        };
        (before + bytes <= KEPT_BYTES).then_some(kept)
    }
}

impl Counts {
    fn add(&mut self, shard: ShardId, bytes: usize) -> bool {
        let here = &mut self.shards[shard.index()];
        let room = *here < SHARD_BYTES && self.all + bytes <= ALL_BYTES;
        if room {
            *here += bytes;
            self.all += bytes;
        }
        room
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        let mut counts = self.lot.counts.lock();
        counts.shards[self.shard.index()] -= self.bytes;
        counts.all -= self.bytes;
        drop(counts);
        self.lot.parked.dec();
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.kept.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn lot() -> Arc<ParkingLot> {
        let parked = IntGauge::new("parked", "Parked.").unwrap();
        Arc::new(ParkingLot::new(ShardCount::default(), parked))
    }

    fn shard(number: u16) -> ShardId {
        ShardCount::default().shard(number).unwrap()
    }

    #[test]
    fn a_shard_takes_its_share_and_one_message_of_any_size() {
        let lot = lot();
        let small = lot.park(shard(0), SHARD_BYTES / 2).unwrap();
        let large = lot.park(shard(0), 16 << 20).unwrap();
        assert!(lot.park(shard(0), 0).is_none());
        assert!(lot.park(shard(1), 0).is_some(), "another shard has its own");
        drop(large);
        assert!(lot.park(shard(0), 0).is_some());
        drop(small);
        assert_eq!(lot.parked.get(), 0);
        assert_eq!(lot.counts.lock().all, 0);
    }

    #[test]
    fn the_edge_takes_so_much_in_all() {
        let lot = lot();
        let fit = (ALL_BYTES / (SHARD_BYTES + MESSAGE_BYTES)) as u16;
        let all: Vec<_> = (0..fit)
            .map(|number| lot.park(shard(number), SHARD_BYTES).unwrap())
            .collect();
        assert_eq!(lot.parked.get(), i64::from(fit));
        assert!(lot.park(shard(fit), SHARD_BYTES).is_none());
        drop(all);
        assert!(lot.park(shard(fit), SHARD_BYTES).is_some());
    }

    #[test]
    fn empty_messages_have_an_end_too() {
        let lot = lot();
        let held: Vec<_> = std::iter::from_fn(|| lot.park(shard(0), 0)).collect();
        assert_eq!(held.len(), SHARD_BYTES / MESSAGE_BYTES);
    }

    #[test]
    fn short_bodies_are_kept_up_to_a_sum() {
        let lot = lot();
        assert!(lot.keep(KEPT_BODY + 1).is_none());
        let all: Vec<_> = std::iter::from_fn(|| lot.keep(KEPT_BODY)).collect();
        assert_eq!(all.len(), KEPT_BYTES / KEPT_BODY);
        drop(all);
        assert_eq!(lot.kept.load(Ordering::Relaxed), 0);
    }
}
