//! The session's standing stream.

use rustix::process::Signal;
use serde_json::json;

use crate::cluster::listener::Listener;
use crate::cluster::mcp::{Session, call};
use crate::cluster::puppet::{Line, Puppet};
use crate::cluster::wait::until;
use crate::cluster::{Cluster, Server};

pub(crate) async fn cluster() -> (Cluster, Puppet) {
    let puppet = Puppet::start().await;
    let cluster = Cluster::start(2, 1, &[&puppet.argument("up")]).await;
    (cluster, puppet)
}

/// A session with the upstream, and both ends of its standing stream.
pub(crate) async fn listening(cluster: &Cluster, puppet: &mut Puppet) -> (Session, Listener, Line) {
    let peer = cluster.edges[0].listen;
    let mut session = Session::open(peer).await;
    let stream = Listener::listen(peer, &session, None).await;
    let ask = session.prepare("tools/call", &call("act", &json!({})));
    session.http.start(&ask).await;
    puppet.call().await.answer("done").await;
    session.reply().await;
    let line = puppet.listener().await;
    (session, stream, line)
}

#[tokio::test]
async fn what_was_said_without_a_listener_is_told_at_another_edge() {
    let (mut cluster, mut puppet) = cluster().await;
    let (session, mut stream, mut line) = listening(&cluster, &mut puppet).await;
    line.say("one").await;
    let one = stream.message().await;
    assert_eq!(one.said(), "one");
    cluster.edges[0].process.kill().await;
    assert_eq!(stream.next().await, None);
    line.say("two").await;
    line.say("three").await;
    let peer = cluster.edges[1].listen;
    let mut stream = Listener::listen(peer, &session, Some(one.id())).await;
    assert_eq!(stream.message().await.said(), "two");
    assert_eq!(stream.message().await.said(), "three");
    line.say("four").await;
    assert_eq!(stream.message().await.said(), "four");
}

#[tokio::test]
async fn a_second_get_takes_the_place_of_the_first() {
    let (cluster, mut puppet) = cluster().await;
    let (session, mut first, mut line) = listening(&cluster, &mut puppet).await;
    let peer = cluster.edges[1].listen;
    let mut second = Listener::listen(peer, &session, None).await;
    first.rest().await;
    line.say("one").await;
    assert_eq!(second.message().await.said(), "one");
}

#[tokio::test]
async fn a_draining_edge_lets_its_listeners_go_at_an_id() {
    let (cluster, mut puppet) = cluster().await;
    let (session, mut stream, mut line) = listening(&cluster, &mut puppet).await;
    line.say("one").await;
    let one = stream.message().await;
    cluster.edges[0].process.signal(Signal::TERM);
    let last = stream.rest().await.pop().unwrap();
    assert_eq!((last.id.as_deref(), &*last.data), (Some(one.id()), ""));
    assert!(last.retry.is_some(), "{last:?}");
    line.say("two").await;
    let peer = cluster.edges[1].listen;
    let mut stream = Listener::listen(peer, &session, Some(last.id())).await;
    assert_eq!(stream.message().await.said(), "two");
}

#[tokio::test]
async fn an_old_connection_closes_and_its_stream_ends_with_it() {
    let local = Server::local(&["--demo=tour", "--connection-age=1"]).await;
    let mut session = Session::open(local.listen).await;
    let mut stream = Listener::listen(local.listen, &session, None).await;
    stream.rest().await;
    stream.closed().await;
    // Each connection has an age of its own: the session's may be the younger one.
    until("an answer that asks to connect again", async || {
        let reply = session
            .call("echo", &json!({"message": "still here"}))
            .await;
        assert_eq!(reply.status, 200);
        (reply.header("connection") == Some("close")).then_some(())
    })
    .await;
    session.http.closed().await;
    session.reconnect(local.listen).await;
    let reply = session.call("echo", &json!({"message": "anew"})).await;
    assert_eq!((reply.status, reply.header("connection")), (200, None));
}
