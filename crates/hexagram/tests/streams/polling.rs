//! SEP-1699: a stream that is let go in the middle of a call.

use serde_json::json;

use crate::cluster::Cluster;
use crate::cluster::listener::Listener;
use crate::cluster::mcp::{Session, call};
use crate::puppet::{Line, Puppet};

/// The upstream asks for its client's stream to be closed.
async fn let_go(line: &mut Line) {
    let params = json!({"requestId": line.asked.id});
    let method = "notifications/hexagram.dev/close_stream";
    line.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}))
        .await;
}

#[tokio::test]
async fn a_client_that_was_let_go_comes_back_for_the_rest() {
    let mut puppet = Puppet::start().await;
    let cluster = Cluster::start(1, 1, &[&puppet.argument("up")]).await;
    let peer = cluster.edges[0].listen;
    let mut session = Session::open(peer).await;
    let ask = session.prepare("tools/call", &call("act", &json!({})));
    let (mut stream, mut line) = tokio::join!(Listener::open(peer, &ask), async {
        let mut line = puppet.call().await;
        let_go(&mut line).await;
        line
    });
    let events = stream.rest().await;
    assert!(
        events.iter().all(|event| event.data.is_empty()),
        "{events:?}"
    );
    let last = events.last().unwrap();
    assert!(last.id.is_some() && last.retry.is_some(), "{last:?}");
    line.say("meanwhile").await;
    let mut rest = Listener::listen(peer, &session, Some(last.id())).await;
    assert_eq!(rest.message().await.said(), "meanwhile");
    line.answer("done").await;
    assert_eq!(rest.message().await.text(), "done");
    assert_eq!(rest.next().await, None);
}

#[tokio::test]
async fn an_older_client_is_not_let_go() {
    let mut puppet = Puppet::start().await;
    let cluster = Cluster::start(1, 1, &[&puppet.argument("up")]).await;
    let peer = cluster.edges[0].listen;
    let mut session = Session::open_version(peer, "2025-06-18").await;
    let ask = session.prepare("tools/call", &call("act", &json!({})));
    let (mut stream, _line) = tokio::join!(Listener::open(peer, &ask), async {
        let mut line = puppet.call().await;
        let_go(&mut line).await;
        line.say("still here").await;
        line.answer("done").await;
        line
    });
    assert_eq!(stream.message().await.said(), "still here");
    assert_eq!(stream.message().await.text(), "done");
}
