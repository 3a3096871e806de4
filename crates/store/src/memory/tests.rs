use bytes::Bytes;
use hexagram_core::{Epoch, EventId, Serial, SessionKey, ShardCount};

use super::*;
use crate::record::{Change, SAID_KEPT, Said};
use crate::store::{ClaimMode, Wrote};

const KEEP: ClaimMode = ClaimMode::Keep;

fn shard() -> ShardId {
    ShardCount::default().shard(17).unwrap()
}

fn epoch(number: u64) -> Epoch {
    Epoch::new(number).unwrap()
}

fn session(serial: u64) -> SessionKey {
    SessionKey {
        epoch: Epoch::FIRST,
        serial: Serial::new(serial),
    }
}

fn set(serial: u64, text: &'static str) -> Change {
    Change::Session(session(serial), Bytes::from_static(text.as_bytes()))
}

async fn claim(store: &MemoryStore, number: u64, mode: ClaimMode) -> Claimed {
    let claim = Claim {
        shard: shard(),
        epoch: epoch(number),
        mode,
    };
    match store.claim(claim).await.unwrap() {
        // Where it was left is another question.
        Claimed::Yours { floor, known, .. } => yours(floor.get(), known),
        fenced @ Claimed::Fenced(_) => fenced,
    }
}

async fn write(store: &MemoryStore, at: u64, number: u64, changes: Vec<Change>) -> Wrote {
    let group = Group {
        shard: shard(),
        epoch: epoch(at),
        number,
        changes,
    };
    store.write(&[group]).await.unwrap()[0].clone().unwrap()
}

fn yours(floor: u64, known: bool) -> Claimed {
    Claimed::Yours {
        floor: epoch(floor),
        known,
        left: None,
    }
}

async fn sessions(store: &MemoryStore) -> Vec<(SessionKey, Bytes)> {
    store.load(shard(), &|| {}).await.unwrap().sessions
}

#[tokio::test]
async fn a_record_is_kept_from_owner_to_owner() {
    let store = MemoryStore::default();
    assert_eq!(claim(&store, 3, KEEP).await, yours(3, false));
    assert_eq!(write(&store, 3, 1, vec![set(1, "a")]).await, Wrote::Stored);
    assert_eq!(claim(&store, 5, KEEP).await, yours(3, true));
    assert_eq!(sessions(&store).await, [(session(1), "a".into())]);
}

#[tokio::test]
async fn an_older_owner_is_fenced() {
    let store = MemoryStore::default();
    claim(&store, 3, KEEP).await;
    claim(&store, 4, KEEP).await;
    assert_eq!(claim(&store, 3, KEEP).await, Claimed::Fenced(epoch(4)));
    let wrote = write(&store, 3, 1, vec![set(1, "late")]).await;
    assert_eq!(wrote, Wrote::Fenced(epoch(4)));
    assert_eq!(sessions(&store).await, []);
}

#[tokio::test]
async fn a_repeated_claim_gets_the_same_answer() {
    let store = MemoryStore::default();
    store.set_mute(true);
    let lost = Claim {
        shard: shard(),
        epoch: epoch(3),
        mode: KEEP,
    };
    store.claim(lost).await.unwrap_err();
    store.set_mute(false);
    assert_eq!(claim(&store, 3, KEEP).await, yours(3, false));
    write(&store, 3, 1, vec![set(1, "a")]).await;
    assert_eq!(claim(&store, 3, KEEP).await, yours(3, true));
}

#[tokio::test]
async fn a_repeated_group_changes_nothing() {
    let store = MemoryStore::default();
    claim(&store, 1, KEEP).await;
    write(&store, 1, 1, vec![set(1, "a")]).await;
    write(&store, 1, 2, vec![set(1, "b")]).await;
    assert_eq!(write(&store, 1, 1, vec![set(1, "a")]).await, Wrote::Stored);
    assert_eq!(sessions(&store).await, [(session(1), "b".into())]);
}

#[tokio::test]
async fn a_group_that_follows_on_none_is_behind() {
    let store = MemoryStore::default();
    claim(&store, 1, KEEP).await;
    assert_eq!(write(&store, 1, 2, vec![set(1, "a")]).await, Wrote::Behind);
    assert_eq!(write(&store, 1, 1, vec![]).await, Wrote::Behind);
    assert_eq!(write(&store, 1, 0, vec![]).await, Wrote::Stored);
}

#[tokio::test]
async fn a_wiped_store_is_found_out_and_begins_anew() {
    let store = MemoryStore::default();
    claim(&store, 1, KEEP).await;
    write(&store, 1, 1, vec![set(1, "a")]).await;
    store.wipe();
    assert_eq!(write(&store, 1, 1, vec![]).await, Wrote::Behind);
    assert_eq!(claim(&store, 2, KEEP).await, yours(2, false));
}

#[tokio::test]
async fn a_rolled_back_store_is_found_out() {
    let store = MemoryStore::default();
    claim(&store, 1, KEEP).await;
    write(&store, 1, 1, vec![set(1, "a")]).await;
    let backup = store.snapshot();
    write(&store, 1, 2, vec![set(1, "b")]).await;
    store.restore(&backup);
    assert_eq!(write(&store, 1, 3, vec![set(1, "c")]).await, Wrote::Behind);
}

/// The number alone would fit: the second claim of the epoch counts from 1 again.
#[tokio::test]
async fn a_store_rolled_back_to_an_earlier_claim_is_found_out() {
    let store = MemoryStore::default();
    claim(&store, 1, KEEP).await;
    write(&store, 1, 1, vec![set(1, "a")]).await;
    let backup = store.snapshot();
    claim(&store, 1, KEEP).await;
    store.restore(&backup);
    assert_eq!(write(&store, 1, 1, vec![set(1, "b")]).await, Wrote::Behind);
}

#[tokio::test]
async fn what_is_not_whole_is_not_kept() {
    let store = MemoryStore::default();
    claim(&store, 1, KEEP).await;
    let rewrite = ClaimMode::Rewrite { floor: epoch(1) };
    assert_eq!(claim(&store, 2, rewrite).await, yours(1, false));
    write(&store, 2, 1, vec![set(1, "half")]).await;
    assert_eq!(claim(&store, 3, KEEP).await, yours(3, false));
    assert_eq!(sessions(&store).await, []);

    assert_eq!(claim(&store, 4, rewrite).await, yours(1, false));
    write(&store, 4, 1, vec![set(1, "all"), Change::Whole]).await;
    assert_eq!(claim(&store, 5, KEEP).await, yours(1, true));
    assert_eq!(sessions(&store).await, [(session(1), "all".into())]);
}

#[tokio::test]
async fn while_it_is_down_nothing_changes() {
    let store = MemoryStore::default();
    claim(&store, 1, KEEP).await;
    store.set_down(true);
    let group = Group {
        shard: shard(),
        epoch: epoch(1),
        number: 1,
        changes: vec![set(1, "a")],
    };
    let refused = store.write(&[group]).await;
    assert!(matches!(refused, Err(StoreError::Lost(_))), "{refused:?}");
    store.set_down(false);
    assert_eq!(sessions(&store).await, []);
}

#[tokio::test(start_paused = true)]
async fn what_was_said_long_ago_is_not_kept() {
    let store = MemoryStore::default();
    claim(&store, 1, KEEP).await;
    let say = |serial, id: &str| {
        let id = EventId::parse(id).unwrap();
        let message = Bytes::from_static(b"{}");
        Change::Said(session(serial), Said { id, message })
    };
    write(&store, 1, 1, vec![say(1, "c1.1.1"), say(2, "c1.2.1")]).await;
    tokio::time::advance(SAID_KEPT * 2 / 3).await;
    write(&store, 1, 2, vec![say(2, "c1.2.2")]).await;
    tokio::time::advance(SAID_KEPT * 2 / 3).await;
    let said = store.load(shard(), &|| {}).await.unwrap().said;
    let ids = said.iter().map(|(_, said)| said.id.to_string());
    assert_eq!(ids.collect::<Vec<_>>(), ["c1.2.1", "c1.2.2"]);
}

#[tokio::test]
async fn a_claimant_is_told_where_the_record_was_left() {
    let store = MemoryStore::default();
    let left = async |at| {
        let claim = Claim {
            shard: shard(),
            epoch: epoch(at),
            mode: KEEP,
        };
        match store.claim(claim).await.unwrap() {
            Claimed::Yours { left, .. } => left.map(|left| (left.epoch.get(), left.number)),
            fenced @ Claimed::Fenced(_) => panic!("{fenced:?}"),
        }
    };
    assert_eq!(left(1).await, None, "there was none");
    write(&store, 1, 1, vec![set(1, "a")]).await;
    let backup = store.snapshot();
    write(&store, 1, 2, vec![set(1, "b")]).await;
    assert_eq!(left(3).await, Some((1, 2)));
    assert_eq!(
        left(3).await,
        Some((3, 0)),
        "a claim again is one in between"
    );
    store.restore(&backup);
    assert_eq!(left(3).await, Some((1, 1)), "it was rolled back");
}
