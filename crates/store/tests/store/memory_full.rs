//! A server that refuses something: what needs memory where it has none left, or what is
//! of one shard. Nothing else is refused with it.

use hexagram_store::{Change, Group, RedisStore, Store, StoreError, Wrote};

use crate::server::Server;
use crate::speech::{KEEP, claim, claim_of, group, load, session, set, shard, write, yours};

/// As [`group()`], of shard 18.
fn other(at: u64, number: u64, changes: Vec<Change>) -> Group {
    Group {
        shard: shard(18),
        ..group(at, number, changes)
    }
}

/// A store in which both shards are claimed and hold a session.
async fn two_shards(server: &Server) -> RedisStore {
    let store = server.store().await;
    claim(&store, 1, KEEP).await;
    store.claim(claim_of(18, 1, KEEP)).await.unwrap();
    let first = |of: fn(u64, u64, Vec<Change>) -> Group| of(1, 1, vec![set(1, "a")]);
    let wrote = store.write(&[first(group), first(other)]).await.unwrap();
    assert_eq!(wrote, [Ok(Wrote::Stored), Ok(Wrote::Stored)]);
    store
}

#[tokio::test]
async fn a_full_server_takes_claims_and_removals() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]).await;
    let store = server.store().await;
    claim(&store, 1, KEEP).await;
    write(&store, 1, 1, vec![set(1, "a"), set(2, "b")]).await;
    let () = server.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;

    let refused = store.write(&[group(1, 2, vec![set(3, "c")])]).await;
    let Ok([Err(StoreError::Lost(why))]) = refused.as_deref() else {
        panic!("{refused:?}");
    };
    assert!(why.contains("raise its maxmemory"), "{why}");
    let forget = vec![Change::Forget(session(1, 1))];
    assert_eq!(write(&store, 1, 2, forget).await, Wrote::Stored);
    assert_eq!(write(&store, 1, 2, vec![]).await, Wrote::Stored);
    assert_eq!(claim(&store, 2, KEEP).await, yours(1, true));
    assert_eq!(
        load(&store).await.sessions,
        crate::speech::sessions(&[(2, "b")])
    );
}

#[tokio::test]
async fn what_needs_memory_is_refused_and_what_goes_with_it_is_not() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]).await;
    let store = two_shards(&server).await;
    let () = server.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;

    let needs = group(1, 2, vec![set(2, "b")]);
    let removes = other(1, 2, vec![Change::Forget(session(1, 1))]);
    let wrote = store.write(&[needs.clone(), removes]).await.unwrap();
    let [Err(StoreError::Lost(why)), Ok(Wrote::Stored)] = &wrote[..] else {
        panic!("{wrote:?}");
    };
    assert!(why.contains("raise its maxmemory"), "{why}");
    let () = server.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
    assert_eq!(store.write(&[needs]).await.unwrap(), [Ok(Wrote::Stored)]);
}

#[tokio::test]
async fn a_key_that_something_else_wrote_stops_its_own_shard_only() {
    let server = Server::start(&[]).await;
    let store = two_shards(&server).await;
    let sessions = "hexagram:{17}:sessions";
    let () = server.ask(&["SET", sessions, "what is this?"]).await;

    let both = [
        group(1, 2, vec![set(2, "b")]),
        other(1, 2, vec![set(2, "b")]),
    ];
    let wrote = store.write(&both).await.unwrap();
    let [Err(StoreError::Unusable(why)), Ok(Wrote::Stored)] = &wrote[..] else {
        panic!("{wrote:?}");
    };
    assert!(why.contains("something else wrote"), "{why}");
    let () = server.ask(&["DEL", sessions]).await;
    assert_eq!(
        store.write(&both).await.unwrap(),
        [Ok(Wrote::Stored), Ok(Wrote::Stored)]
    );
}
