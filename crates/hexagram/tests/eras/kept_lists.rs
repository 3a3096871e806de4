//! Lists that a modern upstream lets others keep are asked for once (ADR 0013).

use serde_json::{Value, json};

use crate::cluster::Server;
use crate::cluster::http::Http;
use crate::cluster::mcp::{Session, modern, result};
use crate::cluster::upstream::{Behaviour, Upstream};

const LIST: &str = "tools/list";
const MINUTE: u64 = 60_000;

/// What a modern client gets on a connection of its own.
async fn listed(server: &Server, params: &Value) -> Value {
    let mut http = Http::connect(server.listen).await;
    result(&http.send(&modern(5, LIST, params)).await)
}

#[tokio::test]
async fn all_clients_share_what_is_public() {
    let upstream = Upstream::start(Behaviour::Lasting).await;
    let server = Server::local(&[&upstream.argument("a")]).await;
    let first = listed(&server, &json!({})).await;
    assert_eq!(first["ttlMs"], MINUTE);
    let again = listed(&server, &json!({})).await;
    assert_eq!(again["tools"], first["tools"]);
    assert!(again["ttlMs"].as_u64().is_some_and(|left| left <= MINUTE));
    assert_eq!(again["cacheScope"], "public");
    let mut session = Session::open(server.listen).await;
    let legacy = result(&session.ask(LIST, &json!({})).await);
    assert_eq!(legacy, json!({"tools": first["tools"]}), "in its own era");
    for other in [json!({"cursor": "2"}), json!({"filter": "x"})] {
        let other = listed(&server, &other).await;
        assert_ne!(other["tools"], first["tools"], "another page");
    }
}

#[tokio::test]
async fn merged_lists_are_made_of_kept_ones() {
    let (one, two) = tokio::join!(
        Upstream::start(Behaviour::Lasting),
        Upstream::start(Behaviour::Lasting)
    );
    let server = Server::local(&[&one.argument("a"), &two.argument("b")]).await;
    let first = listed(&server, &json!({})).await;
    assert_eq!(first["tools"].as_array().map(Vec::len), Some(2));
    assert_eq!(listed(&server, &json!({})).await, first);
}
