//! A worker that is lost with messages on it: sent again once, where that is
//! allowed to be decided.

use std::time::Duration;

use hexagram_core::ProtocolVersion;
use hexagram_proto::link::Open;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::scene::{Events, FIRST, Scene};
use crate::wait::until;
use crate::worker::DOWN;

const DONE: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
/// Longer than what is kept of a message that may have run.
const LONG: usize = 100 << 10;

fn call(argument: &str) -> Value {
    json!({"name": "echo", "arguments": {"message": argument}})
}

/// For 5 s the edge tries to take the link up again; after that it makes a new one.
#[tokio::test]
async fn what_keeps_a_link_from_being_taken_up_again_is_shown_meanwhile() {
    let mut scene = Scene::start().await;
    let lost = Instant::now();
    scene.a.lose();
    let is_shown = || scene.trouble("worker-a").as_deref() == Some(DOWN);
    until("the edge says why", is_shown).await;
    assert!(lost.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn an_unanswered_message_goes_to_the_next_owner_and_says_so() {
    for (method, params) in [("tools/list", json!({})), ("tools/call", call("x"))] {
        let mut scene = Scene::start().await;
        let reply = scene.ask(method, &params);
        let lost = scene.a.opened().await;
        scene.a.cut();
        scene.until_parked(1).await;
        scene.b.active(FIRST + 1);
        let again = scene.b.opened().await;
        assert_eq!((again.epoch, again.attempt), (FIRST + 1, 2));
        assert_eq!(again.body, lost.body);
        scene.b.answer(&again, DONE);
        assert_eq!(reply.await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn the_same_worker_serves_again_in_a_higher_epoch() {
    let mut scene = Scene::start().await;
    let reply = scene.ask("tools/list", &json!({}));
    scene.a.opened().await;
    scene.a.cut();
    scene.a.owns(FIRST + 1);
    let again = scene.a.opened().await;
    assert_eq!((again.epoch, again.attempt), (FIRST + 1, 2));
    scene.a.answer(&again, DONE);
    assert_eq!(reply.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_message_is_not_sent_a_third_time() {
    let mut scene = Scene::start().await;
    let reply = scene.ask("tools/call", &call("x"));
    scene.a.opened().await;
    scene.a.cut();
    scene.b.active(FIRST + 1);
    scene.b.opened().await;
    scene.b.cut();
    let reply = reply.await.unwrap();
    assert_eq!(reply.reason(), "outcome_unknown");
}

#[tokio::test]
async fn a_call_without_a_new_owner_ends_unknown() {
    let mut scene = Scene::start().await;
    let reply = scene.ask("tools/call", &call("x"));
    scene.a.opened().await;
    scene.a.cut();
    assert_eq!(reply.await.unwrap().reason(), "outcome_unknown");
}

#[tokio::test]
async fn a_long_message_is_sent_once() {
    let mut scene = Scene::start().await;
    let reply = scene.ask("tools/call", &call(&"x".repeat(LONG)));
    scene.a.opened().await;
    scene.a.cut();
    scene.b.active(FIRST + 1);
    assert_eq!(reply.await.unwrap().reason(), "outcome_unknown");
    // Neither did the other worker get it.
    scene.a.owns(FIRST);
    scene.a.linked().await;
    scene.a.announce();
    scene.b.announced().await;
}

#[tokio::test]
async fn a_message_waits_for_an_owner_that_is_not_linked() {
    let mut scene = Scene::start().await;
    scene.a.cut();
    let reply = scene.ask("tools/list", &json!({}));
    scene.until_parked(1).await;
    scene.publish(2, "worker-b", FIRST + 1).await;
    let open = scene.b.opened().await;
    assert_eq!((open.epoch, open.attempt), (FIRST + 1, 1));
    scene.b.answer(&open, DONE);
    assert_eq!(reply.await.unwrap().status, 200);
}

/// The JSON of each event that is still to come on a stream that ends.
async fn rest(mut events: Events) -> Vec<Value> {
    let mut text = String::new();
    while let Some(part) = events.next().await {
        text += &part;
    }
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

fn is_unknown(answer: &Value, id: u64) -> bool {
    answer["id"] == id && answer["error"]["data"]["reason"] == "outcome_unknown"
}

/// A call that has said something already, at `worker-a`.
async fn speaking(scene: &mut Scene, id: &str) -> Open {
    let open = scene.a.opened().await;
    scene.a.start_at(&open, "");
    scene.a.event(&open, PROGRESS, id, false);
    open
}

const PROGRESS: &str = r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#;

/// Whether its client could come back makes no difference: nobody has its end.
#[tokio::test]
async fn a_call_that_has_begun_to_speak_is_answered() {
    for version in [
        ProtocolVersion::V2024_11_05,
        ProtocolVersion::V2025_06_18,
        ProtocolVersion::V2025_11_25,
        ProtocolVersion::V2026_07_28,
    ] {
        let mut scene = Scene::start().await;
        let events = match version {
            ProtocolVersion::V2026_07_28 => scene.call("tools/call", &call("x")),
            _ => {
                let (method, params) = ("tools/call", call("x"));
                let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
                scene.post(version, &body)
            }
        };
        speaking(&mut scene, "e-1").await;
        let events = events.await.unwrap();
        scene.a.cut();
        scene.b.active(FIRST + 1);
        let said = rest(events).await;
        assert_eq!(said.len(), 2, "{version:?}: {said:?}");
        assert!(is_unknown(&said[1], 1), "{version:?}: {said:?}");
    }
}

fn batch() -> Value {
    let call =
        |id: u64| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": call("x")});
    json!([call(1), call(2), {"jsonrpc": "2.0", "method": "notifications/x"}])
}

#[tokio::test]
async fn each_request_of_a_batch_is_answered_once() {
    let mut scene = Scene::start().await;
    let events = scene.post(ProtocolVersion::V2025_03_26, &batch());
    let open = speaking(&mut scene, "").await;
    scene.a.event(&open, DONE, "", false);
    let events = events.await.unwrap();
    scene.a.cut();
    scene.b.active(FIRST + 1);
    let said = rest(events).await;
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[1].get("result").is_some(), "{said:?}");
    assert!(is_unknown(&said[2], 2), "{said:?}");
}

#[tokio::test]
async fn a_batch_without_an_owner_is_answered_as_one() {
    let mut scene = Scene::start().await;
    let reply = scene.tell(ProtocolVersion::V2025_03_26, &batch());
    scene.a.opened().await;
    scene.a.cut();
    let reply = reply.await.unwrap();
    assert_eq!(
        (reply.status, reply.body.as_array().unwrap().len()),
        (200, 2)
    );
    assert!(is_unknown(&reply.body[0], 1) && is_unknown(&reply.body[1], 2));
}
