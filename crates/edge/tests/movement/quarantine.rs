//! A shard that nobody is to serve.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::scene::{FIRST, Scene};

const DONE: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;

#[tokio::test]
async fn its_clients_are_told_at_once_and_served_again_when_it_is_over() {
    let mut scene = Scene::start().await;
    scene.quarantine(2, FIRST + 1).await;
    let begun = Instant::now();
    let refused = scene.ask("tools/list", &json!({})).await.unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "nobody waits for it"
    );
    assert_eq!(
        (refused.status, refused.reason()),
        (503, "shard_quarantined")
    );
    assert_eq!(refused.body["error"]["code"], -32014);
    assert_eq!(refused.body["error"]["data"]["retryAfterMs"], 60_000);
    // Its next owner is heard before the map comes.
    scene.b.active(FIRST + 2);
    scene.until_route("worker-b", FIRST + 2, false).await;
    let reply = scene.ask("tools/list", &json!({}));
    let open = scene.b.opened().await;
    assert_eq!(open.epoch, FIRST + 2);
    scene.b.answer(&open, DONE);
    assert_eq!(reply.await.unwrap().status, 200);
}

#[tokio::test]
async fn what_waits_for_an_owner_waits_no_longer() {
    let mut scene = Scene::start().await;
    let lost = scene.ask("tools/call", &json!({"name": "echo"}));
    scene.a.opened().await;
    scene.a.cut();
    scene.until_parked(1).await;
    let new = scene.ask("tools/list", &json!({}));
    scene.until_parked(2).await;
    scene.quarantine(2, FIRST + 1).await;
    let new = new.await.unwrap();
    assert_eq!((new.status, new.reason()), (503, "shard_quarantined"));
    assert_eq!(lost.await.unwrap().reason(), "outcome_unknown");
}
