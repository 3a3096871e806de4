//! Hexagram as the client of an upstream whose streams break.

use serde_json::json;

use crate::cluster::Cluster;
use crate::cluster::listener::Listener;
use crate::cluster::mcp::{Session, call, text};
use crate::puppet::{Puppet, answer, notification};

async fn cluster() -> (Cluster, Puppet) {
    let puppet = Puppet::start().await;
    let cluster = Cluster::start(1, 1, &[&puppet.argument("up")]).await;
    (cluster, puppet)
}

#[tokio::test]
async fn a_polled_call_is_resumed_and_its_client_notices_nothing() {
    let (cluster, mut puppet) = cluster().await;
    let mut session = Session::open(cluster.edges[0].listen).await;
    let ask = session.prepare("tools/call", &call("act", &json!({})));
    session.http.start(&ask).await;
    let mut line = puppet.call().await;
    let id = line.asked.id.clone();
    line.write("id: 1\nretry: 10\ndata:\n\n").await;
    drop(line);
    // Let go a second time, by a broken connection.
    let mut line = puppet.listener().await;
    assert_eq!(line.asked.last_event_id.as_deref(), Some("1"));
    line.write(&format!("id: 2\ndata: {}\n\n", notification("half")))
        .await;
    drop(line);
    let mut line = puppet.listener().await;
    assert_eq!(line.asked.last_event_id.as_deref(), Some("2"));
    line.send(&answer(&id, "done")).await;
    let reply = session.reply().await;
    assert_eq!(text(&reply), "done");
    assert_eq!(reply.messages().len(), 2, "{reply:?}");
}

#[tokio::test]
async fn a_resumption_that_is_refused_ends_the_call() {
    let (cluster, mut puppet) = cluster().await;
    let mut session = Session::open(cluster.edges[0].listen).await;
    let ask = session.prepare("tools/call", &call("act", &json!({})));
    session.http.start(&ask).await;
    let mut line = puppet.call().await;
    line.write("id: 1\nretry: 10\ndata:\n\n").await;
    drop(line);
    let mut line = puppet.get().await;
    line.write("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        .await;
    let reply = session.reply().await;
    let reason = &reply.response()["error"]["data"]["reason"];
    assert_eq!(reason, "outcome_unknown", "{reply:?}");
}

#[tokio::test]
async fn a_standing_stream_goes_on_where_it_broke() {
    let (cluster, mut puppet) = cluster().await;
    let peer = cluster.edges[0].listen;
    let mut session = Session::open(peer).await;
    let mut stream = Listener::listen(peer, &session, None).await;
    let ask = session.prepare("tools/call", &call("act", &json!({})));
    session.http.start(&ask).await;
    puppet.call().await.answer("done").await;
    session.reply().await;
    let mut line = puppet.listener().await;
    assert_eq!(line.asked.last_event_id, None);
    line.write(&format!("id: a\ndata: {}\n\n", notification("one")))
        .await;
    assert_eq!(stream.message().await.said(), "one");
    drop(line);
    let mut line = puppet.listener().await;
    assert_eq!(line.asked.last_event_id.as_deref(), Some("a"));
    line.say("two").await;
    assert_eq!(stream.message().await.said(), "two");
}
