//! Messages whose shard moves: parked, sent again, refused in the end.

use serde_json::json;

use crate::scene::{FIRST, MAX_MESSAGE, Scene};

const DONE: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;

#[tokio::test]
async fn a_redirect_is_followed() {
    let mut scene = Scene::start().await;
    let reply = scene.ask("tools/list", &json!({}));
    let first = scene.a.opened().await;
    assert_eq!(first.epoch, FIRST);
    scene.a.redirect(&first, "worker-b", FIRST + 1);
    let again = scene.b.opened().await;
    assert_eq!((again.epoch, again.attempt), (FIRST + 1, 1));
    assert_eq!((&again.body, again.client), (&first.body, first.client));
    scene.b.answer(&again, DONE);
    assert_eq!(reply.await.unwrap().status, 200);
    assert_eq!(scene.metric("hexagram_edge_redirects_total "), 1);
    assert_eq!(scene.route(), ("worker-b".to_owned(), FIRST + 1, false));
}

#[tokio::test]
async fn three_redirects_are_the_most() {
    let mut scene = Scene::start().await;
    let reply = scene.ask("tools/list", &json!({}));
    for hop in 0..2 {
        let open = scene.a.opened().await;
        scene.a.redirect(&open, "worker-b", FIRST + 2 * hop + 1);
        let open = scene.b.opened().await;
        scene.b.redirect(&open, "worker-a", FIRST + 2 * hop + 2);
    }
    let reply = reply.await.unwrap();
    assert_eq!((reply.status, reply.reason()), (503, "moving"));
    assert_eq!(scene.metric("hexagram_edge_redirects_total "), 3);
}

#[tokio::test]
async fn an_owner_that_has_not_read_the_map_is_asked_again() {
    let mut scene = Scene::start().await;
    let reply = scene.ask("tools/list", &json!({}));
    for _ in 0..5 {
        let open = scene.a.opened().await;
        scene.a.redirect(&open, "", 0);
    }
    let open = scene.a.opened().await;
    assert_eq!((open.epoch, open.attempt), (FIRST, 1));
    scene.a.answer(&open, DONE);
    assert_eq!(reply.await.unwrap().status, 200);
    scene.until_parked(0).await;
}

#[tokio::test]
async fn a_worker_that_knows_nothing_makes_the_message_wait() {
    let mut scene = Scene::start().await;
    let reply = scene.ask("tools/list", &json!({}));
    let open = scene.a.opened().await;
    scene.a.redirect(&open, "", 0);
    scene.publish(2, "worker-b", FIRST + 1).await;
    let open = loop {
        tokio::select! {
            open = scene.a.opened() => scene.a.redirect(&open, "", 0),
            open = scene.b.opened() => break open,
        }
    };
    scene.b.answer(&open, DONE);
    assert_eq!(reply.await.unwrap().status, 200);
    scene.until_parked(0).await;
}

#[tokio::test]
async fn what_is_parked_goes_to_the_new_owner() {
    let mut scene = Scene::start().await;
    let sent = scene.ask("tools/list", &json!({}));
    let open = scene.a.opened().await;
    scene.a.is_moving(&open);
    scene.until_route("worker-a", FIRST, true).await;
    let parked = scene.ask("tools/list", &json!({}));
    scene.until_parked(2).await;
    scene.b.active(FIRST + 1);
    for _ in 0..2 {
        let open = scene.b.opened().await;
        assert_eq!((open.epoch, open.attempt), (FIRST + 1, 1));
        scene.b.answer(&open, DONE);
    }
    assert_eq!(sent.await.unwrap().status, 200);
    assert_eq!(parked.await.unwrap().status, 200);
    scene.until_parked(0).await;
    // The second was never sent to the frozen worker.
    scene.b.announce();
    scene.a.announced().await;
}

#[tokio::test]
async fn what_is_parked_goes_back_when_the_move_is_given_up() {
    let mut scene = Scene::start().await;
    let reply = scene.ask("tools/list", &json!({}));
    let open = scene.a.opened().await;
    scene.a.is_moving(&open);
    scene.until_route("worker-a", FIRST, true).await;
    scene.a.resumed(FIRST);
    let open = scene.a.opened().await;
    assert_eq!((open.epoch, open.attempt), (FIRST, 1));
    scene.a.answer(&open, DONE);
    assert_eq!(reply.await.unwrap().status, 200);
    assert_eq!(scene.route(), ("worker-a".to_owned(), FIRST, false));
}

#[tokio::test]
async fn what_is_parked_for_too_long_is_refused() {
    let mut scene = Scene::start().await;
    let reply = scene.ask("tools/list", &json!({}));
    let open = scene.a.opened().await;
    scene.a.is_moving(&open);
    let reply = reply.await.unwrap();
    assert_eq!((reply.status, reply.reason()), (503, "moving"));
    scene.until_parked(0).await;
}

#[tokio::test]
async fn a_full_shard_refuses_at_once() {
    let mut scene = Scene::start().await;
    scene.a.cut();
    let long = json!({"cursor": "x".repeat(MAX_MESSAGE / 2)});
    let parked = scene.ask("tools/list", &long);
    scene.until_parked(1).await;
    let refused = scene.ask("tools/list", &json!({})).await.unwrap();
    // Not "worker_down", which it would be after a wait.
    assert_eq!((refused.status, refused.reason()), (503, "moving"));
    scene.b.active(FIRST + 1);
    let open = scene.b.opened().await;
    scene.b.answer(&open, DONE);
    assert_eq!(parked.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_place_back() {
    let mut scene = Scene::start().await;
    scene.a.cut();
    let parked = scene.ask("tools/list", &json!({}));
    scene.until_parked(1).await;
    parked.abort();
    scene.until_parked(0).await;
}

#[tokio::test]
async fn a_late_word_changes_nothing() {
    let mut scene = Scene::start().await;
    scene.b.active(FIRST - 1);
    scene.b.active(FIRST);
    scene.b.announce();
    scene.a.announced().await;
    assert_eq!(scene.route(), ("worker-a".to_owned(), FIRST, false));
    scene.publish(2, "worker-b", FIRST + 2).await;
    // The register was restored from an old backup.
    scene.publish(3, "worker-a", FIRST + 1).await;
    assert_eq!(scene.route(), ("worker-b".to_owned(), FIRST + 2, false));
    let reply = scene.ask("tools/list", &json!({}));
    let open = scene.b.opened().await;
    assert_eq!(open.epoch, FIRST + 2);
    scene.b.answer(&open, DONE);
    assert_eq!(reply.await.unwrap().status, 200);
}
