//! A shard that moves between two workers, as its edges and its clients see it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "edge and pair are shared with other tests")]

mod edge;
mod pair;

use std::collections::BTreeMap;

use bytes::Bytes;
use hexagram_core::ShardCount;
use hexagram_proto::admin::MapRequest;
use hexagram_proto::admin::admin_client::AdminClient;
use hexagram_proto::handoff::{GrantPart, Move};
use hexagram_proto::known_map;
use hexagram_proto::link::worker_message::Kind;
use hexagram_proto::link::{ExchangeKind, Open};

use edge::{CLUSTER, EPOCH, Edge, Session, exchange_of};
use pair::{Cluster, NAMES, active, call, count, moved, served, shard};

/// Cancels the call that [`waiting`] has begun.
const CANCEL: &str =
    r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}"#;

/// Sessions of one shard that say much.
const SHOUTERS: usize = 4;

/// Begins a call that ends only when it is cancelled; gives its exchange.
async fn waiting(edge: &mut Edge, session: &Session) -> u64 {
    served(edge, session, &call("count", 1)).await;
    let waiting = edge.post(edge.open(session, &call("wait", 2))).await;
    // It is under way once another call of the session was answered.
    served(edge, session, &call("count", 3)).await;
    waiting
}

/// Waits for the end of an exchange.
async fn over(edge: &mut Edge, exchange: u64) {
    loop {
        let kind = edge.receive().await;
        if exchange_of(&kind) == exchange && matches!(kind, Kind::End(_) | Kind::Event(_)) {
            return;
        }
    }
}

async fn session(edge: &mut Edge) -> Session {
    edge.session().await
}

#[tokio::test]
async fn a_session_goes_on_at_the_new_owner() {
    let cluster = Cluster::start();
    let (mut old, mut new) = (cluster.edge(0).await, cluster.edge(1).await);
    let session = session(&mut old).await;
    assert_eq!(
        count(served(&mut old, &session, &call("count", 1)).await),
        "1"
    );
    cluster.plan(shard(&session), 1);
    assert_eq!(active(&mut new, shard(&session)).await, EPOCH + 1);
    let open = moved(&new, &session, &call("count", 2));
    assert_eq!(
        count(new.send(open).await),
        "2",
        "the handler's state came along"
    );
}

#[tokio::test]
async fn what_a_handler_exports_goes_on_in_another_process() {
    let cluster = Cluster::apart();
    let (mut old, mut new) = (cluster.edge(0).await, cluster.edge(1).await);
    let session = session(&mut old).await;
    for number in 1..=3 {
        served(&mut old, &session, &call("count", number)).await;
    }
    cluster.plan(shard(&session), 1);
    active(&mut new, shard(&session)).await;
    let open = moved(&new, &session, &call("count", 4));
    assert_eq!(count(new.send(open).await), "4");
}

#[tokio::test]
async fn the_old_owner_names_the_new_one() {
    let cluster = Cluster::start();
    let (mut old, mut new) = (cluster.edge(0).await, cluster.edge(1).await);
    let session = session(&mut old).await;
    cluster.plan(shard(&session), 1);
    active(&mut new, shard(&session)).await;
    let redirect = loop {
        // Between grant and its acknowledgement the shard still counts as moving.
        match old.ask(&session, &call("count", 1)).await {
            Kind::Misdirected(redirect) if redirect.moving => tokio::task::yield_now().await,
            Kind::Misdirected(redirect) => break redirect,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        (redirect.to.as_str(), redirect.epoch),
        (NAMES[1], EPOCH + 1)
    );
}

#[tokio::test]
async fn a_worker_leaves_once_the_register_names_others() {
    let cluster = Cluster::start();
    let (mut old, mut new) = (cluster.edge(0).await, cluster.edge(1).await);
    let session = session(&mut old).await;
    let all = || ShardCount::default().iter();
    all().for_each(|shard| cluster.plan(shard, 1));
    cluster.workers[0].shutdown.cancel();
    let mut taken = 0;
    while taken < all().count() {
        taken += usize::from(matches!(new.receive().await, Kind::Active(_)));
    }
    // All is given. What the worker does about it, it has done after some answers.
    for exchange in 0..20 {
        let ask = old.open(&session, &call("count", exchange));
        let number = old.post(ask).await;
        loop {
            let kind = old.receive().await;
            assert!(!matches!(kind, Kind::Leaving(_)), "it leaves too early");
            if exchange_of(&kind) == number {
                break;
            }
        }
    }
    all().for_each(|shard| cluster.commit(shard, 1, EPOCH + 1));
    old.told_to_leave().await;
}

#[tokio::test]
async fn a_call_ends_where_it_began_and_is_cancelled_from_the_new_owner() {
    let cluster = Cluster::start();
    let (mut old, mut new) = (cluster.edge(0).await, cluster.edge(1).await);
    let session = session(&mut old).await;
    let waiting = waiting(&mut old, &session).await;
    cluster.plan(shard(&session), 1);
    active(&mut new, shard(&session)).await;
    new.send(moved(&new, &session, CANCEL)).await;
    over(&mut old, waiting).await;
}

#[tokio::test]
async fn a_call_is_reached_across_two_moves() {
    let cluster = Cluster::start();
    let (mut old, mut new) = (cluster.edge(0).await, cluster.edge(1).await);
    let session = session(&mut old).await;
    let waiting = waiting(&mut old, &session).await;
    cluster.plan(shard(&session), 1);
    active(&mut new, shard(&session)).await;
    cluster.commit(shard(&session), 1, EPOCH + 1);
    cluster.plan(shard(&session), 0);
    assert_eq!(active(&mut old, shard(&session)).await, EPOCH + 2);
    let cancel = Open {
        epoch: EPOCH + 2,
        ..old.open(&session, CANCEL)
    };
    old.post(cancel).await;
    over(&mut old, waiting).await;
}

/// Begins a call that says a word and ends when another call releases it; gives its
/// exchange and the id of the word.
async fn lingering(edge: &mut Edge, session: &Session) -> (u64, String) {
    served(edge, session, &call("count", 1)).await;
    let number = edge.post(edge.open(session, &call("linger", 2))).await;
    (number, word(edge, number).await)
}

/// The id of the next message of an exchange.
async fn word(edge: &mut Edge, exchange: u64) -> String {
    loop {
        match edge.receive().await {
            Kind::Event(event) if event.exchange == exchange => return event.event_id,
            _ => {}
        }
    }
}

/// Comes back to a call's stream.
fn resume(edge: &Edge, session: &Session, epoch: u64, position: &str) -> Open {
    Open {
        kind: ExchangeKind::Stream.into(),
        epoch,
        last_event_id: position.to_owned(),
        ..edge.open(session, "")
    }
}

#[tokio::test]
async fn who_lost_a_call_that_runs_on_finds_its_end_at_the_new_owner() {
    let cluster = Cluster::start();
    let (mut old, mut new) = (cluster.edge(0).await, cluster.edge(1).await);
    let session = session(&mut old).await;
    let (number, word) = lingering(&mut old, &session).await;
    cluster.plan(shard(&session), 1);
    active(&mut new, shard(&session)).await;
    let back = new.post(resume(&new, &session, EPOCH + 1, &word)).await;
    new.send(moved(&new, &session, &call("release", 3))).await;
    let [told, found] = [old.last_event(number).await, new.last_event(back).await];
    assert_eq!(found.event_id, told.event_id);
    assert_eq!(count(Kind::Event(found)), count(Kind::Event(told.clone())));
    // And who comes once more.
    let again = new.post(resume(&new, &session, EPOCH + 1, &word)).await;
    assert_eq!(new.last_event(again).await.data, told.data);
}

/// Has a call say much; gives the id at which its stream began.
async fn shouted(edge: &mut Edge, session: &Session) -> String {
    let number = edge.post(edge.open(session, &call("shout", 2))).await;
    let begin = loop {
        match edge.receive().await {
            Kind::Start(start) if start.exchange == number => break start.event_id,
            _ => {}
        }
    };
    edge.paid(number).await;
    begin
}

/// What a client finds behind a position: bytes of all messages.
async fn found(edge: &mut Edge, session: &Session, position: &str) -> usize {
    let back = edge.post(resume(edge, session, EPOCH + 1, position)).await;
    edge.paid(back).await
}

#[tokio::test]
async fn much_that_was_said_is_found_at_the_new_owner() {
    let cluster = Cluster::start();
    let (mut old, mut new) = (cluster.edge(0).await, cluster.edge(1).await);
    let mut sessions = Vec::new();
    for _ in 0..SHOUTERS {
        let session = session(&mut old).await;
        served(&mut old, &session, &call("count", 1)).await;
        let begin = shouted(&mut old, &session).await;
        sessions.push((session, begin));
    }
    let shard = shard(&sessions[0].0);
    cluster.plan(shard, 1);
    active(&mut new, shard).await;
    for (session, begin) in &sessions {
        let bytes = found(&mut new, session, begin).await;
        assert!(bytes > 400_000, "{bytes} bytes");
    }
}

#[tokio::test]
async fn who_first_heard_of_a_call_after_its_shard_had_moved_finds_its_end_too() {
    let cluster = Cluster::start();
    let (mut old, mut new) = (cluster.edge(0).await, cluster.edge(1).await);
    let session = session(&mut old).await;
    served(&mut old, &session, &call("count", 1)).await;
    let late = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"late","_meta":{"progressToken":"t"}}}"#;
    let number = old.post(old.open(&session, late)).await;
    served(&mut old, &session, &call("count", 3)).await;
    cluster.plan(shard(&session), 1);
    active(&mut new, shard(&session)).await;
    new.send(moved(&new, &session, &call("release", 4))).await;
    let heard = word(&mut old, number).await;
    let back = new.post(resume(&new, &session, EPOCH + 1, &heard)).await;
    new.send(moved(&new, &session, &call("release", 5))).await;
    let [told, found] = [old.last_event(number).await, new.last_event(back).await];
    assert_eq!((found.event_id, found.data), (told.event_id, told.data));
}

#[tokio::test]
async fn the_end_of_a_call_is_kept_across_two_moves() {
    let cluster = Cluster::start();
    let (mut old, mut new) = (cluster.edge(0).await, cluster.edge(1).await);
    let session = session(&mut old).await;
    let (number, word) = lingering(&mut old, &session).await;
    cluster.plan(shard(&session), 1);
    active(&mut new, shard(&session)).await;
    cluster.commit(shard(&session), 1, EPOCH + 1);
    cluster.plan(shard(&session), 0);
    assert_eq!(active(&mut old, shard(&session)).await, EPOCH + 2);
    let release = Open {
        epoch: EPOCH + 2,
        ..old.open(&session, &call("release", 3))
    };
    old.post(release).await;
    let told = old.last_event(number).await;
    let back = old.post(resume(&old, &session, EPOCH + 2, &word)).await;
    assert_eq!(old.last_event(back).await.event_id, told.event_id);
}

#[tokio::test]
async fn who_waits_for_a_call_that_was_cancelled_is_let_go() {
    let cluster = Cluster::start();
    let (mut old, mut new) = (cluster.edge(0).await, cluster.edge(1).await);
    let session = session(&mut old).await;
    let (_, word) = lingering(&mut old, &session).await;
    cluster.plan(shard(&session), 1);
    active(&mut new, shard(&session)).await;
    let back = new.post(resume(&new, &session, EPOCH + 1, &word)).await;
    new.send(moved(&new, &session, CANCEL)).await;
    new.ended(back).await;
    match new.send(resume(&new, &session, EPOCH + 1, &word)).await {
        Kind::Event(event) => assert!(event.last, "{event:?}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_deleted_session_stays_deleted_and_the_others_live() {
    let cluster = Cluster::start();
    let (mut old, mut new) = (cluster.edge(0).await, cluster.edge(1).await);
    let session = session(&mut old).await;
    let delete = Open {
        kind: ExchangeKind::Delete.into(),
        ..old.open(&session, "")
    };
    cluster.plan(shard(&session), 1);
    active(&mut new, shard(&session)).await;
    let alive = new.send(moved(&new, &session, &call("count", 1))).await;
    assert_eq!(count(alive), "1", "an untouched session is known by its id");
    let delete = Open {
        epoch: EPOCH + 1,
        ..delete
    };
    assert!(matches!(new.send(delete).await, Kind::End(_)));
    cluster.commit(shard(&session), 1, EPOCH + 1);
    cluster.plan(shard(&session), 0);
    assert_eq!(active(&mut old, shard(&session)).await, EPOCH + 2);
    let open = Open {
        epoch: EPOCH + 2,
        ..old.open(&session, &call("count", 2))
    };
    match old.send(open).await {
        Kind::Event(event) => assert_eq!(event.head.unwrap().status, 404),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_standing_stream_is_to_go_on_at_the_new_owner() {
    let cluster = Cluster::start();
    let (mut old, mut new) = (cluster.edge(0).await, cluster.edge(1).await);
    let session = session(&mut old).await;
    served(&mut old, &session, &call("count", 1)).await;
    let listen = |edge: &Edge| Open {
        kind: ExchangeKind::Stream.into(),
        ..edge.open(&session, "")
    };
    let number = old.post(listen(&old)).await;
    let position = loop {
        if let Kind::Start(start) = old.receive().await {
            break start.event_id;
        }
    };
    cluster.plan(shard(&session), 1);
    active(&mut new, shard(&session)).await;
    while !matches!(old.receive().await, Kind::Reattach(it) if it.exchange == number) {}
    let again = Open {
        epoch: EPOCH + 1,
        reattach: true,
        last_event_id: position.clone(),
        ..listen(&new)
    };
    match new.send(again).await {
        Kind::Start(start) => assert_eq!(start.event_id, position, "the same stream goes on"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_move_to_a_worker_that_is_not_there_changes_nothing() {
    let cluster = Cluster::start();
    let mut old = cluster.edge(0).await;
    let session = session(&mut old).await;
    served(&mut old, &session, &call("count", 1)).await;
    // The register promises an address at which nobody is.
    cluster.change(|map| map.with_addresses(BTreeMap::new()));
    cluster.plan(shard(&session), 1);
    assert_eq!(
        count(served(&mut old, &session, &call("count", 2)).await),
        "2"
    );
}

#[tokio::test]
async fn an_owner_without_a_giver_knows_no_old_session() {
    let cluster = Cluster::start();
    let (mut old, mut new) = (cluster.edge(0).await, cluster.edge(1).await);
    let session = session(&mut old).await;
    cluster.fail_over(shard(&session), 1);
    active(&mut new, shard(&session)).await;
    match new.send(moved(&new, &session, &call("count", 1))).await {
        Kind::Event(event) => assert_eq!(event.head.unwrap().status, 404),
        other => panic!("{other:?}"),
    }
}

fn forged(shard: u32) -> Move {
    Move {
        cluster: CLUSTER.to_owned(),
        shards: 64,
        shard,
        epoch: EPOCH + 1,
        from: NAMES[0].to_owned(),
        from_incarnation: 1,
        to: NAMES[1].to_owned(),
        to_incarnation: 1,
        state_format: 1,
    }
}

#[tokio::test]
async fn a_forged_move_is_refused_with_the_reason() {
    let cluster = Cluster::start();
    let mut worker = cluster.handoff(1).await;
    let changed = |change: fn(&mut Move)| {
        let mut named = forged(3);
        change(&mut named);
        named
    };
    let cases = [
        (
            changed(|named| named.cluster = "other".to_owned()),
            "cluster",
        ),
        (changed(|named| named.shards = 32), "64 shards"),
        (changed(|named| named.to_incarnation = 9), "worker-1/"),
        (changed(|named| named.state_format = 9), "format 1"),
        (changed(|named| named.shard = 64), "malformed"),
        (forged(3), "expects no such grant"),
    ];
    for (named, reason) in cases {
        let part = GrantPart {
            r#move: Some(named),
            state: Bytes::new(),
        };
        let refused = worker
            .grant(futures_util::stream::iter([part]))
            .await
            .unwrap_err();
        assert!(refused.message().contains(reason), "{refused}");
    }
    let refused = worker.prepare(forged(3)).await.unwrap_err();
    assert!(refused.message().contains("no such move"), "{refused}");
}

#[tokio::test]
async fn what_a_worker_tells_of_the_map_is_above_what_it_serves() {
    let (cluster, count) = (Cluster::start(), ShardCount::default());
    let shard = count.shard(0).unwrap();
    let backup = cluster.register.borrow().clone();
    let mut edge = cluster.edge(1).await;
    cluster.fail_over(shard, 1);
    assert_eq!(active(&mut edge, shard).await, EPOCH + 1);
    cluster.register.send_replace(backup.clone());
    let request = MapRequest {
        cluster: CLUSTER.to_owned(),
        shards: u32::from(count.get()),
    };
    let mut admin = AdminClient::new(cluster.channel(1).await);
    let told = admin.map(request).await.unwrap().into_inner();
    let (told, backup) = (known_map(&told, count).unwrap().unwrap(), backup.unwrap());
    let entry = told.entry(shard);
    assert_eq!(entry.spent().get(), EPOCH + 1);
    assert_eq!(entry.owner(), backup.entry(shard).owner());
}
