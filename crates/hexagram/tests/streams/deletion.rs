//! A deleted session answers nothing any more, not even what it was asked before.

use serde_json::json;

use crate::cluster::Cluster;
use crate::cluster::http::Http;
use crate::cluster::listener::{Listener, get};
use crate::cluster::mcp::{Refusal, Session, call, refused};
use crate::puppet::Puppet;

#[tokio::test]
async fn calls_and_streams_end_with_their_session() {
    let mut puppet = Puppet::start().await;
    let cluster = Cluster::start(2, 1, &[&puppet.argument("up")]).await;
    let peer = cluster.edges[0].listen;
    let mut session = Session::open(peer).await;
    let mut standing = Listener::listen(peer, &session, None).await;
    let prime = standing.next().await.unwrap();
    let act = call("act", &json!({}));
    // One call has a stream already, one waits for its answer.
    let ask = session.prepare("tools/call", &act);
    let (mut streaming, line) = tokio::join!(Listener::open(peer, &ask), async {
        let mut line = puppet.call().await;
        line.say("one").await;
        line
    });
    let one = streaming.message().await;
    let ask = session.prepare("tools/call", &act);
    session.http.start(&ask).await;
    let quiet = puppet.call().await;

    let delete = session.signed(crate::cluster::http::Ask::new("DELETE", "/mcp"));
    let mut other = Http::connect(cluster.edges[1].listen).await;
    assert_eq!(other.send(&delete).await.status, 200);

    let gone = |id| Refusal(404, id, -32001, "session_not_found");
    refused(&session.reply().await, &gone(session.last()));
    let last = streaming.rest().await.pop().unwrap().message();
    assert_eq!(last["error"]["data"]["reason"], "session_not_found");
    assert!(
        standing
            .rest()
            .await
            .iter()
            .all(|event| event.data.is_empty())
    );
    for after in [None, Some(prime.id()), Some(one.id())] {
        let reply = other.send(&get(&session, after)).await;
        refused(&reply, &gone(json!(null)));
    }
    refused(&other.send(&delete).await, &gone(json!(null)));
    drop((line, quiet));
}
