//! A worker that is lost with messages on it: sent again once, where that is
//! allowed to be decided.

use serde_json::{Value, json};

use crate::scene::{FIRST, Scene};

const DONE: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
/// Longer than what is kept of a message that may have run.
const LONG: usize = 100 << 10;

fn call(argument: &str) -> Value {
    json!({"name": "echo", "arguments": {"message": argument}})
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
