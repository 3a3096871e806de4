//! A shard whose owner is lost: what its next owner finds in the store, and what a store
//! that is away, wiped or claimed by another means to clients.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "edge and pair are shared with other tests")]

mod edge;
mod pair;

use std::time::Duration;

use hexagram_core::{Epoch, ShardCount, ShardId};
use hexagram_proto::link::worker_message::Kind;
use hexagram_proto::link::{ExchangeKind, Open};
use hexagram_store::{Change, Claim, ClaimMode, Claimed, DeadChunk, Group, MemoryStore, Store};
use serde_json::json;

use edge::{EPOCH, Edge, Session};
use pair::{Cluster, active, call, count, epoch, served, shard};

/// Looks again until it holds.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..500 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not in time: {what}");
}

fn in_epoch(number: u64, open: Open) -> Open {
    Open {
        epoch: number,
        ..open
    }
}

fn delete(edge: &Edge, session: &Session, number: u64) -> Open {
    let open = Open {
        kind: ExchangeKind::Delete.into(),
        ..edge.open(session, "")
    };
    in_epoch(number, open)
}

/// The HTTP status of an answer, 200 where it has no head.
fn status(kind: &Kind) -> u32 {
    let head = match kind {
        Kind::Event(event) => event.head.as_ref(),
        Kind::End(end) => end.head.as_ref(),
        other => panic!("{other:?}"),
    };
    head.map_or(200, |head| head.status.max(200))
}

/// An edge at each worker, and a session at the first one.
async fn scene(store: &MemoryStore) -> (Cluster, Edge, Edge, Session) {
    let cluster = Cluster::with(Some(store));
    let (mut old, new) = (cluster.edge(0).await, cluster.edge(1).await);
    let session = old.session().await;
    (cluster, old, new, session)
}

/// The shard goes to the second worker, as after the first one's death.
async fn lose(cluster: &Cluster, new: &mut Edge, shard: ShardId) -> u64 {
    cluster.fail_over(shard, 1);
    active(new, shard).await
}

#[tokio::test]
async fn a_session_outlives_its_worker() {
    let (cluster, mut old, mut new, session) = scene(&MemoryStore::default()).await;
    served(&mut old, &session, &call("count", 1)).await;
    let now = lose(&cluster, &mut new, shard(&session)).await;
    let open = in_epoch(now, new.open(&session, &call("count", 2)));
    assert_eq!(count(new.send(open).await), "1", "a handler begins anew");
}

#[tokio::test]
async fn a_deleted_session_is_dead_at_every_later_owner() {
    let (cluster, mut old, mut new, session) = scene(&MemoryStore::default()).await;
    let deleted = old.send(delete(&old, &session, EPOCH)).await;
    assert_eq!(status(&deleted), 200);
    let now = lose(&cluster, &mut new, shard(&session)).await;
    let open = in_epoch(now, new.open(&session, &call("count", 1)));
    assert_eq!(status(&new.send(open).await), 404);
}

#[tokio::test]
async fn what_a_call_said_is_found_at_the_next_owner() {
    let (cluster, mut old, mut new, session) = scene(&MemoryStore::default()).await;
    let number = old.post(old.open(&session, &call("say", 1))).await;
    let said = old.last_event(number).await;
    let now = lose(&cluster, &mut new, shard(&session)).await;
    let (before, _) = said.event_id.rsplit_once('.').unwrap();
    let resumed = Open {
        kind: ExchangeKind::Stream.into(),
        last_event_id: format!("{before}.0"),
        ..in_epoch(now, new.open(&session, ""))
    };
    let number = new.post(resumed).await;
    let again = new.last_event(number).await;
    assert_eq!((again.event_id, again.data), (said.event_id, said.data));
}

#[tokio::test]
async fn a_delete_that_cannot_be_stored_is_refused_until_it_is() {
    let store = MemoryStore::default();
    let (_cluster, mut old, _new, session) = scene(&store).await;
    store.set_down(true);
    for _ in 0..2 {
        let refused = old.send(delete(&old, &session, EPOCH)).await;
        assert_eq!(status(&refused), 503);
    }
    let open = old.open(&session, &call("count", 1));
    assert_eq!(
        status(&old.send(open).await),
        404,
        "it is over all the same"
    );
    store.set_down(false);
    eventually("a stored deletion", async || {
        status(&old.send(delete(&old, &session, EPOCH)).await) == 404
    })
    .await;
}

#[tokio::test]
async fn without_its_store_a_worker_serves_on() {
    let store = MemoryStore::default();
    let (_cluster, mut old, _new, session) = scene(&store).await;
    store.set_down(true);
    for id in 1..4 {
        let open = old.open(&session, &call("say", id));
        let number = old.post(open).await;
        assert!(old.last_event(number).await.last);
    }
}

#[tokio::test]
async fn without_store_and_register_nothing_is_accepted_that_must_be_recorded() {
    let store = MemoryStore::default();
    let (cluster, mut old, _new, session) = scene(&store).await;
    let level = |id: u64, level: &str| {
        let params = json!({ "level": level });
        json!({"jsonrpc": "2.0", "id": id, "method": "logging/setLevel", "params": params})
            .to_string()
    };
    store.set_down(true);
    let open = old.open(&session, &level(1, "info"));
    assert_eq!(status(&old.send(open).await), 200, "the register is there");
    cluster.reached.send_replace(false);
    let open = old.open(&session, &level(2, "debug"));
    assert_eq!(status(&old.send(open).await), 503);
    let open = old.open(&session, &call("count", 3));
    assert_eq!(status(&old.send(open).await), 200, "a call records nothing");
    store.set_down(false);
    eventually("a level that is recorded", async || {
        let open = old.open(&session, &level(4, "error"));
        status(&old.send(open).await) == 200
    })
    .await;
}

#[tokio::test]
async fn a_wiped_store_is_told_all_again() {
    let store = MemoryStore::default();
    let (cluster, mut old, mut new, session) = scene(&store).await;
    let other = old.session().await;
    assert_eq!(status(&old.send(delete(&old, &session, EPOCH)).await), 200);
    store.wipe();
    eventually("a record that is whole again", async || {
        store.snapshot().is_whole(shard(&session))
    })
    .await;
    let now = lose(&cluster, &mut new, shard(&session)).await;
    let dead = in_epoch(now, new.open(&session, &call("count", 1)));
    assert_eq!(status(&new.send(dead).await), 404);
    let alive = in_epoch(now, new.open(&other, &call("count", 1)));
    assert_eq!(status(&new.send(alive).await), 200);
}

#[tokio::test]
async fn a_store_that_comes_too_late_costs_the_sessions_of_before() {
    let store = MemoryStore::default();
    let (cluster, old, mut new, session) = scene(&store).await;
    store.set_down(true);
    let now = lose(&cluster, &mut new, shard(&session)).await;
    store.set_down(false);
    let open = in_epoch(now, new.open(&session, &call("count", 1)));
    assert_eq!(
        status(&new.send(open).await),
        404,
        "it may have been deleted"
    );
    drop(old);
}

#[tokio::test]
async fn an_owner_that_the_store_knows_to_be_over_ends() {
    let store = MemoryStore::default();
    let (_cluster, mut old, _new, session) = scene(&store).await;
    let claim = Claim {
        shard: shard(&session),
        epoch: epoch(EPOCH + 5),
        mode: ClaimMode::Keep,
    };
    let claimed = store.claim(claim).await.unwrap();
    assert!(matches!(claimed, Claimed::Yours { known: true, .. }));
    let number = old.post(delete(&old, &session, EPOCH)).await;
    eventually("the end of the old owner", async || {
        let open = old.open(&session, &call("count", 1));
        matches!(old.send(open).await, Kind::Misdirected(_))
    })
    .await;
    let _ = number;
}

/// The store is wiped, and the shard moves before its owner has noticed.
#[tokio::test]
async fn a_record_that_was_lost_before_a_move_is_written_after_it() {
    let store = MemoryStore::default();
    let (cluster, mut old, mut new, session) = scene(&store).await;
    let id = shard(&session);
    store.wipe();
    cluster.plan(id, 1);
    assert_eq!(active(&mut new, id).await, EPOCH + 1);
    cluster.commit(id, 1, EPOCH + 1);
    store.wipe();
    cluster.plan(id, 0);
    assert_eq!(active(&mut old, id).await, EPOCH + 2);
    cluster.commit(id, 0, EPOCH + 2);
    eventually("a record that is whole again", async || {
        store.snapshot().is_whole(id)
    })
    .await;
    let now = lose(&cluster, &mut new, id).await;
    let open = in_epoch(now, new.open(&session, &call("count", 1)));
    assert_eq!(status(&new.send(open).await), 200, "it was never deleted");
}

#[tokio::test]
async fn a_move_takes_the_record_along() {
    let (cluster, mut old, mut new, session) = scene(&MemoryStore::default()).await;
    let id = shard(&session);
    assert_eq!(status(&old.send(delete(&old, &session, EPOCH)).await), 200);
    cluster.plan(id, 1);
    assert_eq!(active(&mut new, id).await, EPOCH + 1);
    cluster.commit(id, 1, EPOCH + 1);
    cluster.fail_over(id, 0);
    let now = active(&mut old, id).await;
    let open = in_epoch(now, old.open(&session, &call("count", 1)));
    assert_eq!(status(&old.send(open).await), 404);
}

/// Dead bits that an earlier owner has left: those of an expired session, and others.
fn dead(number: u64, until: u64) -> Change {
    Change::Dead(DeadChunk {
        epoch: Epoch::FIRST,
        number,
        words: [1; 8],
        until,
    })
}

#[tokio::test]
async fn what_has_expired_is_not_stored_for_ever() {
    let store = MemoryStore::default();
    let id = ShardCount::default().shard(3).unwrap();
    let claim = Claim {
        shard: id,
        epoch: Epoch::FIRST,
        mode: ClaimMode::Keep,
    };
    store.claim(claim).await.unwrap();
    let group = Group {
        shard: id,
        epoch: Epoch::FIRST,
        number: 1,
        changes: vec![dead(1, 1), dead(2, u64::MAX)],
    };
    store.write(&[group]).await.unwrap();
    let _cluster = Cluster::with(Some(&store));
    eventually("a record without what has expired", async || {
        let dead = store.load(id, &|| {}).await.unwrap().dead;
        dead.iter().map(|chunk| chunk.number).eq([2])
    })
    .await;
}

/// The store is rolled back, and the shard moves before its owner has noticed.
#[tokio::test]
async fn a_record_that_was_rolled_back_before_a_move_is_written_after_it() {
    let store = MemoryStore::default();
    let (cluster, mut old, mut new, session) = scene(&store).await;
    let id = shard(&session);
    let other = old.session().await;
    assert_eq!(status(&old.send(delete(&old, &other, EPOCH)).await), 200);
    let backup = store.snapshot();
    assert_eq!(status(&old.send(delete(&old, &session, EPOCH)).await), 200);
    store.restore(&backup);
    cluster.plan(id, 1);
    assert_eq!(active(&mut new, id).await, EPOCH + 1);
    cluster.commit(id, 1, EPOCH + 1);
    eventually("the mark of the deleted session", async || {
        let dead = store.load(id, &|| {}).await.unwrap().dead;
        dead.iter().any(|chunk| chunk.words[0].count_ones() == 2)
    })
    .await;
    cluster.fail_over(id, 0);
    let now = active(&mut old, id).await;
    let open = in_epoch(now, old.open(&session, &call("count", 1)));
    assert_eq!(status(&old.send(open).await), 404, "it was deleted");
}
