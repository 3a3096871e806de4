//! What a server's faults come to.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hexagram_store::{Change, ClaimMode, Claimed, RedisStore, Store, StoreError, Wrote};
use tokio::time::Instant;

use crate::server::Server;
use crate::speech::{
    KEEP, claim, claim_of, epoch, group, load, say, session, sessions, set, write, yours,
};

fn assert_lost<T: std::fmt::Debug>(answer: Result<T, StoreError>, why: &str) {
    match answer {
        Err(StoreError::Lost(text)) if text.contains(why) => {}
        other => panic!("expected lost, {why}: {other:?}"),
    }
}

#[tokio::test]
async fn an_older_owner_in_another_process_is_fenced() {
    let server = Server::start(&[]).await;
    let (old, new) = (server.store().await, server.store().await);
    assert_eq!(claim(&old, 1, KEEP).await, yours(1, false));
    assert_eq!(write(&old, 1, 1, vec![set(1, "a")]).await, Wrote::Stored);
    assert_eq!(claim(&new, 2, KEEP).await, yours(1, true));
    assert_eq!(load(&new).await.sessions, sessions(&[(1, "a")]));

    let late = write(&old, 1, 2, vec![set(1, "late")]).await;
    assert_eq!(late, Wrote::Fenced(epoch(2)));
    assert_eq!(claim(&old, 1, KEEP).await, Claimed::Fenced(epoch(2)));
    assert_eq!(load(&new).await.sessions, sessions(&[(1, "a")]));
}

#[tokio::test]
async fn numbers_are_exact_to_the_last_digit() {
    let server = Server::start(&[]).await;
    let store = server.store().await;
    // Neighbours that are one and the same as a float.
    for (lower, higher) in [(1 << 53, (1 << 53) + 1), (u64::MAX - 1, u64::MAX)] {
        claim(&store, lower, KEEP).await;
        assert_eq!(
            write(&store, lower, 1, vec![set(1, "a")]).await,
            Wrote::Stored
        );
        let rewrite = ClaimMode::Rewrite {
            floor: epoch(lower),
        };
        assert_eq!(claim(&store, higher, rewrite).await, yours(lower, false));
        let fenced = write(&store, lower, 2, vec![set(1, "b")]).await;
        assert_eq!(fenced, Wrote::Fenced(epoch(higher)));
    }
    let last = session(u64::MAX, u64::MAX);
    let changes = vec![Change::Session(last, Bytes::new()), Change::Whole];
    write(&store, u64::MAX, 1, changes).await;
    assert_eq!(load(&store).await.sessions, [(last, Bytes::new())]);
    assert_eq!(
        claim(&store, u64::MAX, KEEP).await,
        yours(u64::MAX - 1, true)
    );
}

#[tokio::test]
async fn a_group_number_is_exact_to_the_last_digit() {
    let server = Server::start(&[]).await;
    let store = server.store().await;
    claim(&store, 1, KEEP).await;
    let last = format!("{:020}", u64::MAX - 1);
    let () = server
        .ask(&["HSET", "hexagram:{17}:head", "number", &last])
        .await;
    assert_eq!(write(&store, 1, u64::MAX - 1, vec![]).await, Wrote::Stored);
    assert_eq!(write(&store, 1, u64::MAX, vec![]).await, Wrote::Behind);
    assert_eq!(
        write(&store, 1, u64::MAX, vec![set(1, "a")]).await,
        Wrote::Stored
    );
    assert_eq!(load(&store).await.sessions, sessions(&[(1, "a")]));
}

#[tokio::test]
async fn a_wiped_server_is_found_out() {
    let server = Server::start(&[]).await;
    let store = server.store().await;
    claim(&store, 1, KEEP).await;
    write(&store, 1, 1, vec![set(1, "a"), say(1, "c1.1.1")]).await;
    let () = server.ask(&["FLUSHALL"]).await;
    assert_eq!(write(&store, 1, 1, vec![]).await, Wrote::Behind);

    let rewrite = ClaimMode::Rewrite { floor: epoch(1) };
    assert_eq!(claim(&store, 1, rewrite).await, yours(1, false));
    let all = vec![set(1, "again"), Change::Whole];
    assert_eq!(write(&store, 1, 1, all).await, Wrote::Stored);
    assert_eq!(claim(&store, 2, KEEP).await, yours(1, true));
    assert_eq!(load(&store).await.sessions, sessions(&[(1, "again")]));
}

#[tokio::test]
async fn a_server_that_lost_its_last_writes_is_found_out() {
    let mut server = Server::start(&[]).await;
    let store = server.store().await;
    claim(&store, 1, KEEP).await;
    write(&store, 1, 1, vec![set(1, "a")]).await;
    let backup = server.backup().await;
    write(&store, 1, 2, vec![set(1, "b")]).await;
    server.kill().await;
    server.put_back(&backup);
    server.start_again().await;
    assert_eq!(write(&store, 1, 2, vec![]).await, Wrote::Behind);
    assert_eq!(write(&store, 1, 3, vec![set(1, "c")]).await, Wrote::Behind);
    assert_eq!(load(&store).await.sessions, sessions(&[(1, "a")]));
}

/// The backup's last group has the number that comes next: only the claim differs.
#[tokio::test]
async fn a_server_rolled_back_to_an_earlier_claim_is_found_out() {
    let mut server = Server::start(&[]).await;
    let store = server.store().await;
    claim(&store, 1, KEEP).await;
    write(&store, 1, 1, vec![set(1, "a")]).await;
    let backup = server.backup().await;
    claim(&store, 1, KEEP).await;
    server.kill().await;
    server.put_back(&backup);
    server.start_again().await;
    assert_eq!(write(&store, 1, 1, vec![set(1, "b")]).await, Wrote::Behind);
}

#[tokio::test]
async fn a_server_that_starts_again_with_its_data_is_used_on() {
    let mut server = Server::start(&[]).await;
    let store = server.store().await;
    claim(&store, 1, KEEP).await;
    write(&store, 1, 1, vec![set(1, "a")]).await;
    server.backup().await;
    server.kill().await;
    server.start_again().await;
    assert_eq!(write(&store, 1, 2, vec![set(2, "b")]).await, Wrote::Stored);
    assert_eq!(load(&store).await.sessions, sessions(&[(1, "a"), (2, "b")]));
}

#[tokio::test]
async fn another_clusters_server_at_the_same_address_is_refused() {
    let mut server = Server::start(&[]).await;
    let store = server.store().await;
    claim(&store, 1, KEEP).await;
    let other = Server::start(&[]).await;
    let settings = hexagram_store::RedisSettings {
        cluster: "other".to_owned(),
        ..other.settings()
    };
    RedisStore::connect(&settings).await.unwrap();
    server.kill().await;
    server.put_back(&other.backup().await);
    server.start_again().await;

    let answer = store.write(&[group(1, 1, vec![set(1, "a")])]).await;
    let Err(StoreError::Unusable(why)) = answer else {
        panic!("{answer:?}");
    };
    assert!(why.contains("belongs to cluster \"other\""), "{why}");
    let keys: Vec<String> = server.ask(&["KEYS", "*"]).await;
    assert_eq!(keys, ["hexagram:about"]);
}

#[tokio::test]
async fn a_claim_asks_whose_store_it_is() {
    let server = Server::start(&[]).await;
    let store = server.store().await;
    let () = server.ask(&["FLUSHALL"]).await;
    let () = server
        .ask(&["HSET", "hexagram:about", "cluster", "other"])
        .await;
    let answer = store.claim(claim_of(17, 1, KEEP)).await;
    assert!(matches!(answer, Err(StoreError::Unusable(_))), "{answer:?}");
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_loaded_again() {
    let server = Server::start(&[]).await;
    let store = server.store().await;
    claim(&store, 1, KEEP).await;
    let () = server.ask(&["SCRIPT", "FLUSH"]).await;
    assert_eq!(write(&store, 1, 1, vec![set(1, "a")]).await, Wrote::Stored);
    assert_eq!(load(&store).await.sessions, sessions(&[(1, "a")]));
}

#[tokio::test]
async fn a_server_that_is_down_is_lost_until_it_is_up() {
    let mut server = Server::start(&[]).await;
    let store = server.store().await;
    claim(&store, 1, KEEP).await;
    server.backup().await;
    server.kill().await;
    assert_lost(
        store.claim(claim_of(17, 1, KEEP)).await,
        "cannot be reached",
    );
    assert_lost(
        store.load(crate::speech::shard(17), &|| {}).await,
        "cannot be reached",
    );
    server.start_again().await;
    write_at_last(&store, 1, 1).await;
}

#[tokio::test]
async fn a_server_that_hangs_is_lost_in_time_and_the_group_is_written_once() {
    let server = Server::start(&[]).await;
    let store = server.store().await;
    claim(&store, 1, KEEP).await;
    server.pause();
    let begun = Instant::now();
    let lost = store.write(&[group(1, 1, vec![set(1, "a")])]).await;
    assert_lost(lost, "takes too long");
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    server.resume();
    write_at_last(&store, 1, 1).await;
    assert_eq!(
        write(&store, 1, 2, vec![]).await,
        Wrote::Behind,
        "written twice"
    );
}

/// Writes until it is taken, with a deadline.
async fn write_at_last(store: &RedisStore, at: u64, number: u64) {
    let deadline = Instant::now() + Duration::from_secs(10);
    let group = group(at, number, vec![set(1, "a")]);
    loop {
        match store.write(std::slice::from_ref(&group)).await {
            Ok(wrote) => return assert_eq!(wrote, [Ok(Wrote::Stored)]),
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A group that is still under way when its owner claims again must not be taken for the
/// first group after that claim.
#[tokio::test]
async fn a_group_of_before_a_second_claim_comes_too_late() {
    let server = Server::start(&[]).await;
    let (slow, quick) = (server.store().await, server.store().await);
    claim(&slow, 1, KEEP).await;
    claim(&quick, 1, KEEP).await;
    assert_eq!(write(&slow, 1, 1, vec![set(1, "old")]).await, Wrote::Behind);
    assert_eq!(
        write(&quick, 1, 1, vec![set(1, "new")]).await,
        Wrote::Stored
    );
    assert_eq!(load(&quick).await.sessions, sessions(&[(1, "new")]));
}

#[tokio::test]
async fn what_was_said_expires() {
    let server = Server::start(&[]).await;
    let store = server.store().await;
    claim(&store, 1, KEEP).await;
    write(&store, 1, 1, vec![say(1, "c1.1.1"), set(1, "a")]).await;
    for key in ["hexagram:{17}:said:1.1", "hexagram:{17}:speakers"] {
        let left: u64 = server.ask(&["TTL", key]).await;
        assert!((140..=150).contains(&left), "{key}: {left}");
    }
    // What a rewrite drops must not come back with the session's next words.
    let rewrite = ClaimMode::Rewrite { floor: epoch(1) };
    claim(&store, 2, rewrite).await;
    write(&store, 2, 1, vec![say(1, "c2.1.1")]).await;
    let said = load(&store).await.said;
    let ids: Vec<_> = said.iter().map(|(_, said)| said.id.to_string()).collect();
    assert_eq!(ids, ["c2.1.1"]);
}

#[tokio::test]
async fn five_thousand_sessions_are_loaded() {
    let server = Server::start(&[]).await;
    let store = server.store().await;
    claim(&store, 1, KEEP).await;
    let record = "r".repeat(300);
    for number in 1..=50 {
        let serials = (number - 1) * 100..number * 100;
        let changes = serials.flat_map(|serial| [set(serial, &record), say(serial, "c1.1.1")]);
        let wrote = write(&store, 1, number, changes.collect()).await;
        assert_eq!(wrote, Wrote::Stored);
    }
    let begun = Instant::now();
    let pieces = AtomicUsize::new(0);
    let arrived = || {
        pieces.fetch_add(1, Ordering::Relaxed);
    };
    let shard = crate::speech::shard(17);
    let loaded = store.load(shard, &arrived).await.unwrap();
    eprintln!(
        "5000 sessions with a message each are loaded in {:?}",
        begun.elapsed()
    );
    assert_eq!((loaded.sessions.len(), loaded.said.len()), (5000, 5000));
    // 256 sessions at once, or a few more, and the words of 16 at once.
    let pieces = pieces.into_inner();
    assert!((320..=340).contains(&pieces), "{pieces}");
}
