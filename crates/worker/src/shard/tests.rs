//! What a shard remembers, and what it must never answer for again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use hexagram_core::{Capabilities, ProtocolVersion, ShardCount};
use hexagram_runtime::clock;
use hexagram_store::{Claim, ClaimMode, MemoryStore, Store, Writer};
use tokio::sync::mpsc;

use super::*;
use crate::facts::ClientFacts;
use crate::task_names::TaskNames;

const EPOCH: u64 = 5;

fn shard() -> Shard {
    let id = ShardCount::default().shard(3).unwrap();
    Shard::new(id, epoch(EPOCH))
}

fn epoch(number: u64) -> Epoch {
    Epoch::new(number).unwrap()
}

fn claims(key: SessionKey) -> SessionClaims {
    SessionClaims {
        client: ClientId::from_u128(1),
        principal: PrincipalId::from_u128(2),
        key,
        created: 0,
        version: ProtocolVersion::LATEST_LEGACY,
        capabilities: Capabilities::default(),
        client_name: String::new(),
        client_version: String::new(),
        has_record: false,
    }
}

fn session() -> Session {
    let facts = ClientFacts {
        version: ProtocolVersion::LATEST_LEGACY,
        capabilities: Capabilities::default(),
        name: String::new(),
        software_version: String::new(),
    };
    let tasks = TaskNames::new(ClientId::from_u128(1), PrincipalId::from_u128(1));
    Session::new(facts, Duration::from_secs(1), tasks)
}

#[test]
fn keys_and_ids_are_used_once_and_carry_the_epoch() {
    let shard = shard();
    let (one, two) = (shard.new_session_key(), shard.new_session_key());
    assert_eq!((one.epoch, two.epoch), (epoch(EPOCH), epoch(EPOCH)));
    assert_ne!(one, two);
    assert_eq!([shard.upstream_id(), shard.upstream_id()], ["5.0", "5.1"]);
}

#[test]
fn a_session_is_made_once() {
    let shard = shard();
    let claims = claims(shard.new_session_key());
    assert_eq!(shard.held(), 0, "an untouched session costs nothing");
    let first = shard.session(&claims, session).unwrap();
    let again = shard
        .session(&claims, || unreachable!("it is there"))
        .unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    assert!(Arc::ptr_eq(
        &first,
        &shard.held_session(claims.key).unwrap()
    ));
    assert_eq!(shard.held(), 1);
}

/// Invariant I12.
#[test]
fn a_deleted_session_never_comes_back() {
    let shard = shard();
    let claims = claims(shard.new_session_key());
    let neighbour = shard.new_session_key();
    let held = shard.session(&claims, session).unwrap();
    assert!(shard.is_alive(claims.key));
    assert!(Arc::ptr_eq(&held, &shard.delete(claims.key).0.unwrap()));
    assert!(!shard.is_alive(claims.key) && shard.is_alive(neighbour));
    assert!(shard.session(&claims, session).is_none());
    assert!(
        shard.delete(claims.key).0.is_none(),
        "nothing is held any more"
    );
}

#[test]
fn what_an_earlier_owner_minted_may_have_been_deleted() {
    let shard = shard();
    let key = |number| SessionKey {
        epoch: epoch(number),
        serial: Serial::new(0),
    };
    assert!(!shard.is_alive(key(EPOCH - 1)));
    assert!(shard.is_alive(key(EPOCH)));
}

#[test]
fn bridges_are_each_clients_and_principals_own() {
    let shard = shard();
    let bridge = |client, principal| {
        let (client, principal) = (
            ClientId::from_u128(client),
            PrincipalId::from_u128(principal),
        );
        shard.bridge(client, principal, session)
    };
    let first = bridge(1, 1);
    assert!(Arc::ptr_eq(&first, &bridge(1, 1)));
    assert!(!Arc::ptr_eq(&first, &bridge(1, 2)));
    assert!(!Arc::ptr_eq(&first, &bridge(2, 1)));
    assert_eq!(shard.held(), 3);
}

#[test]
fn what_is_taken_is_held_no_more() {
    let shard = shard();
    let claims = claims(shard.new_session_key());
    let kept = shard.session(&claims, session).unwrap();
    let (client, principal) = (ClientId::from_u128(1), PrincipalId::from_u128(1));
    let bridge = shard.bridge(client, principal, session);
    let taken = shard.take(|session| Arc::ptr_eq(session, &bridge));
    assert!(matches!(&taken[..], [one] if Arc::ptr_eq(one, &bridge)));
    assert!(Arc::ptr_eq(&kept, &shard.held_session(claims.key).unwrap()));
    assert_eq!(shard.take(|_| true).len(), 1);
    assert_eq!(shard.held(), 0);
    // Taken for being idle, not deleted: the client may come back.
    assert!(shard.is_alive(claims.key));
}

#[test]
fn a_panic_in_the_table_lets_nothing_in_any_more() {
    let shard = shard();
    let claims = claims(shard.new_session_key());
    assert!(shard.enter().is_ok());
    let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        shard.session(&claims, || panic!("half way"))
    }));
    assert!(made.is_err() && shard.has_failed());
    assert!(matches!(shard.enter(), Err(None)));
    let alone = self::shard().alone();
    let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        alone.session(&claims, || panic!("half way"))
    }));
    assert!(
        made.is_err() && alone.enter().is_ok(),
        "nobody would have it begin anew"
    );
}

/// How long a deleted session's id could be presented, in seconds.
const MEMORY_SECS: u64 = 1_000;

/// A shard that is recorded in a store.
async fn recorded(store: &MemoryStore) -> Shard {
    let (id, epoch) = (shard().id, epoch(EPOCH));
    let mode = ClaimMode::Keep;
    let claim = Claim {
        shard: id,
        epoch,
        mode,
    };
    store.claim(claim).await.unwrap();
    let writer = Writer::new(Arc::new(store.clone()));
    let ledger = Ledger::new(writer.open(id, epoch, true), MEMORY_SECS);
    let (told, _) = mpsc::channel(1);
    tokio::spawn(writer.run(told));
    Shard::with(id, epoch, epoch, Table::default(), Some(Arc::new(ledger)))
}

/// Deletes a session; gives the chunks of dead bits that the store has then.
async fn chunks_after(shard: &Shard, store: &MemoryStore, serial: u64) -> Vec<u64> {
    let serial = Serial::new(serial);
    let (_, ticket) = shard.delete(SessionKey {
        epoch: shard.epoch,
        serial,
    });
    assert_eq!(shard.stored(ticket).await, Stored::Yes);
    let record = store.load(shard.id, &|| {}).await.unwrap();
    record.dead.iter().map(|chunk| chunk.number).collect()
}

#[tokio::test]
async fn the_dead_are_forgotten_once_their_ids_have_expired() {
    let store = MemoryStore::default();
    let shard = recorded(&store).await;
    let key = shard.new_session_key();
    assert_eq!(chunks_after(&shard, &store, 0).await, [0]);
    let now = clock::unix_seconds();
    shard.forget_dead(now);
    assert_eq!(chunks_after(&shard, &store, 600).await, [0, 1]);
    assert!(!shard.is_alive(key), "its id can be presented");
    shard.forget_dead(now + MEMORY_SECS + 60);
    assert!(shard.read(|table| table.dead == DeadSet::default()));
    assert_eq!(chunks_after(&shard, &store, 1_200).await, [2]);
}
