//! How long a store is waited for.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hexagram_core::ShardCount;
use hexagram_store::{Arrived, Group, MemoryStore, Written};

use super::*;

/// A store that sends a record in pieces, one each time that this passes.
#[derive(Debug)]
struct Slow {
    store: MemoryStore,
    pieces: u32,
    each: Duration,
}

impl Store for Slow {
    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<Claimed, StoreError>> {
        self.store.claim(claim)
    }

    fn load<'a>(
        &'a self,
        shard: ShardId,
        arrived: Arrived<'a>,
    ) -> BoxFuture<'a, Result<Record, StoreError>> {
        let loaded = async move {
            for _ in 0..self.pieces {
                sleep(self.each).await;
                arrived();
            }
            self.store.load(shard, arrived).await
        };
        loaded.boxed()
    }

    fn write<'a>(&'a self, groups: &'a [Group]) -> BoxFuture<'a, Result<Written, StoreError>> {
        self.store.write(groups)
    }
}

/// Whether a record of so many pieces is loaded, and after how long.
async fn load(pieces: u32, each: Duration) -> (bool, Duration) {
    let store = MemoryStore::default();
    let slow = Slow {
        store,
        pieces,
        each,
    };
    let storage = Storage::new(Arc::new(slow), 1);
    let shard = ShardCount::default().shard(3).unwrap();
    let begun = Instant::now();
    let loaded = storage.load(shard, Epoch::FIRST).await;
    (matches!(loaded, Loaded::Record(_)), begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_store_that_goes_on_sending_is_waited_for() {
    let (loaded, took) = load(10, Duration::from_secs(1)).await;
    assert!(loaded && took >= Duration::from_secs(10), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_sends_nothing_is_not() {
    assert_eq!(load(10, Duration::from_secs(2)).await, (false, PATIENCE));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_comes_to_an_end_is_given_up() {
    assert_eq!(
        load(u32::MAX, Duration::from_secs(1)).await,
        (false, LONGEST)
    );
}

#[test]
fn a_record_that_the_giver_was_still_writing_is_never_emptied() {
    let mark = |epoch, number| Some(RecordMark { epoch, number });
    let known = |recorded, mine: Option<RecordMark>, there| {
        let state = ShardState {
            floor: 5,
            recorded,
            left: mine,
            ..ShardState::default()
        };
        Known::of(&state, Epoch::new(5).unwrap(), there)
    };
    assert_eq!(known(true, mark(7, 3), mark(7, 3)), Known::All);
    assert_eq!(known(false, mark(7, 3), mark(7, 3)), Known::Most);
    assert_eq!(
        known(false, mark(7, 3), mark(7, 4)),
        Known::Most,
        "it came through"
    );
    assert_eq!(known(true, mark(7, 3), mark(7, 4)), Known::Most);
    assert_eq!(
        known(true, mark(7, 3), mark(7, 2)),
        Known::Nothing,
        "rolled back"
    );
    assert_eq!(
        known(false, mark(7, 3), mark(6, 9)),
        Known::Nothing,
        "rolled back"
    );
    assert_eq!(
        known(false, None, mark(7, 3)),
        Known::Nothing,
        "not the giver's"
    );
    assert_eq!(
        known(true, None, mark(7, 3)),
        Known::All,
        "an older release"
    );
    let higher = ShardState {
        floor: 4,
        recorded: true,
        left: mark(7, 3),
        ..ShardState::default()
    };
    let of = Known::of(&higher, Epoch::new(5).unwrap(), mark(7, 3));
    assert_eq!(of, Known::Nothing, "the record has forgotten more");
}
