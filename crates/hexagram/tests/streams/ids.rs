//! Event ids that lead to nothing, or somewhere else.

use serde_json::json;

use crate::cluster::Server;
use crate::cluster::listener::{Listener, get};
use crate::cluster::mcp::{Refusal, Session, refused};

#[tokio::test]
async fn what_is_no_id_or_no_call_of_this_session_is_refused() {
    let server = Server::local(&[]).await;
    let mut session = Session::open(server.listen).await;
    let long = "9".repeat(2000);
    for id in [
        "nonsense", "c1.0.0", "c1.99.1", "c1.0", "-1", "c+1.0.0", "%00", &long,
    ] {
        let reply = session.http.send(&get(&session, Some(id))).await;
        refused(&reply, &Refusal(400, json!(null), -32000, "unknown_event"));
    }
}

#[tokio::test]
async fn a_call_is_told_to_its_own_session_only() {
    let server = Server::local(&[]).await;
    let mut session = Session::open(server.listen).await;
    let params = json!({
        "name": "countdown", "arguments": {"steps": 2}, "_meta": {"progressToken": 1},
    });
    let ask = session.prepare("tools/call", &params);
    let mut stream = Listener::open(server.listen, &ask).await;
    let prime = stream.next().await.unwrap();
    let heard = stream.rest().await;
    let mut stranger = Session::open(server.listen).await;
    let reply = stranger.http.send(&get(&stranger, Some(prime.id()))).await;
    refused(&reply, &Refusal(400, json!(null), -32000, "unknown_event"));
    let again = Listener::listen(server.listen, &session, Some(prime.id()))
        .await
        .rest()
        .await;
    assert_eq!(again[1..], heard, "the same ids and messages");
    let ids: std::collections::HashSet<_> = heard.iter().map(|event| event.id()).collect();
    assert_eq!(ids.len(), heard.len());
}

#[tokio::test]
async fn a_position_on_an_unknown_standing_stream_begins_a_new_one() {
    let server = Server::local(&[]).await;
    let session = Session::open(server.listen).await;
    let forged = "s9.999999.7";
    let mut stream = Listener::listen(server.listen, &session, Some(forged)).await;
    let prime = stream.next().await.unwrap();
    assert_ne!(prime.id(), forged);
    let mut again = Listener::listen(server.listen, &session, Some(prime.id())).await;
    assert_eq!(again.next().await.unwrap().id, prime.id);
}

#[tokio::test]
async fn the_first_revision_has_no_ids() {
    let server = Server::local(&[]).await;
    let session = Session::open_version(server.listen, "2024-11-05").await;
    let ask = get(&session, Some("nonsense"));
    let _stream = Listener::open(server.listen, &ask).await;
}

#[tokio::test]
async fn before_polling_there_are_ids_but_no_empty_events() {
    let server = Server::local(&[]).await;
    let mut session = Session::open_version(server.listen, "2025-06-18").await;
    let params = json!({
        "name": "countdown", "arguments": {"steps": 2}, "_meta": {"progressToken": 1},
    });
    let ask = session.prepare("tools/call", &params);
    let mut stream = Listener::open(server.listen, &ask).await;
    let events = stream.rest().await;
    assert_eq!(events.len(), 3, "{events:?}");
    assert!(events.iter().all(|event| event.id.is_some()));
    assert!(events.iter().all(|event| !event.data.is_empty()));
    let after = Listener::listen(server.listen, &session, Some(events[1].id()))
        .await
        .rest()
        .await;
    assert_eq!(after, events[2..]);
}
