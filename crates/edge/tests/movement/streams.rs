//! Standing streams whose shard moves: their clients notice nothing.

use hexagram_proto::link::ExchangeKind;

use crate::scene::{Events, FIRST, Scene};

async fn next(events: &mut Events) -> String {
    events.next().await.unwrap()
}

/// A session's stream at `worker-a` that has got one message.
async fn standing(scene: &mut Scene) -> (hexagram_proto::link::Open, Events) {
    let events = scene.get(Some("0"));
    let open = scene.a.opened().await;
    assert_eq!(open.kind(), ExchangeKind::Stream);
    assert_eq!((open.last_event_id.as_str(), open.reattach), ("0", false));
    scene.a.start_at(&open, "1");
    scene.a.event(&open, "[1]", "2", false);
    let mut events = events.await.unwrap();
    assert_eq!(next(&mut events).await, "id: 1\ndata:\n\n");
    assert_eq!(
        next(&mut events).await,
        "event: message\nid: 2\ndata: [1]\n\n"
    );
    (open, events)
}

#[tokio::test]
async fn a_stream_goes_on_at_the_new_owner() {
    let mut scene = Scene::start().await;
    let (open, mut events) = standing(&mut scene).await;
    scene.b.active(FIRST + 1);
    scene.until_route("worker-b", FIRST + 1, false).await;
    scene.a.reattach(&open);
    let again = scene.b.opened().await;
    assert_eq!((again.last_event_id.as_str(), again.reattach), ("2", true));
    assert_eq!((again.attempt, &again.session), (1, &open.session));
    scene.b.start_at(&again, "2");
    scene.b.event(&again, "[2]", "3", false);
    assert_eq!(
        next(&mut events).await,
        "event: message\nid: 3\ndata: [2]\n\n"
    );
}

#[tokio::test]
async fn a_stream_that_is_let_go_early_finds_the_owner_by_itself() {
    let mut scene = Scene::start().await;
    let (open, mut events) = standing(&mut scene).await;
    scene.a.reattach(&open);
    // The edge has not heard of the new owner: it asks the old one.
    let asked = scene.a.opened().await;
    scene.a.is_moving(&asked);
    scene.until_route("worker-a", FIRST, true).await;
    scene.b.active(FIRST + 1);
    let again = scene.b.opened().await;
    assert!(again.reattach);
    scene.b.event(&again, "[2]", "3", false);
    assert_eq!(
        next(&mut events).await,
        "event: message\nid: 3\ndata: [2]\n\n"
    );
}

#[tokio::test]
async fn a_stream_survives_its_worker() {
    let mut scene = Scene::start().await;
    let (_, mut events) = standing(&mut scene).await;
    scene.a.cut();
    scene.publish(2, "worker-b", FIRST + 1).await;
    let again = scene.b.opened().await;
    assert_eq!((again.last_event_id.as_str(), again.reattach), ("2", true));
    scene.b.event(&again, "[2]", "3", false);
    assert_eq!(
        next(&mut events).await,
        "event: message\nid: 3\ndata: [2]\n\n"
    );
}

#[tokio::test]
async fn a_message_cut_in_the_middle_ends_the_stream() {
    let mut scene = Scene::start().await;
    let (open, mut events) = standing(&mut scene).await;
    scene.a.half(&open, "[2,");
    assert_eq!(next(&mut events).await, "event: message\ndata: [2,");
    scene.a.cut();
    scene.publish(2, "worker-b", FIRST + 1).await;
    assert_eq!(events.next().await, None);
}

/// The new owner knows nothing of it: the client learns that when it asks again.
#[tokio::test]
async fn a_stream_that_is_refused_at_the_new_owner_ends() {
    let mut scene = Scene::start().await;
    let (_, mut events) = standing(&mut scene).await;
    scene.a.cut();
    scene.publish(2, "worker-b", FIRST + 1).await;
    let again = scene.b.opened().await;
    scene
        .b
        .refuse(&again, 404, r#"{"jsonrpc":"2.0","id":null,"error":{}}"#);
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn a_listener_survives_its_worker() {
    let mut scene = Scene::start().await;
    let events = scene.listen();
    let open = scene.a.opened().await;
    scene.a.event(&open, "\"ack\"", "", false);
    let mut events = events.await.unwrap();
    assert_eq!(next(&mut events).await, "event: message\ndata: \"ack\"\n\n");
    scene.a.cut();
    scene.publish(2, "worker-b", FIRST + 1).await;
    let again = scene.b.opened().await;
    assert!(again.reattach);
    scene.b.event(&again, "\"news\"", "", false);
    assert_eq!(
        next(&mut events).await,
        "event: message\ndata: \"news\"\n\n"
    );
}

#[tokio::test]
async fn a_listener_goes_on_without_a_second_acknowledgement() {
    let mut scene = Scene::start().await;
    let events = scene.listen();
    let open = scene.a.opened().await;
    assert!(!open.reattach);
    scene.a.start_at(&open, "");
    scene.a.event(&open, "\"ack\"", "", false);
    let mut events = events.await.unwrap();
    assert_eq!(next(&mut events).await, "event: message\ndata: \"ack\"\n\n");
    scene.b.active(FIRST + 1);
    scene.until_route("worker-b", FIRST + 1, false).await;
    scene.a.reattach(&open);
    let again = scene.b.opened().await;
    assert!(again.reattach);
    assert_eq!(again.body, open.body);
    scene.b.start_at(&again, "");
    scene.b.event(&again, "\"news\"", "", false);
    assert_eq!(
        next(&mut events).await,
        "event: message\ndata: \"news\"\n\n"
    );
    // It lives on: the worker's end is the client's.
    scene.b.end(&again);
    assert_eq!(events.next().await, None);
}
