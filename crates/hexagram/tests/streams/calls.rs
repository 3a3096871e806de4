//! A call goes on without its client, and its client finds the rest.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::cluster::listener::{Listener, get};
use crate::cluster::mcp::{Refusal, Session, call, refused};
use crate::cluster::wait;
use crate::cluster::{Cluster, Server};
use crate::puppet::Puppet;

async fn cluster(edges: usize) -> (Cluster, Puppet) {
    let puppet = Puppet::start().await;
    let cluster = Cluster::start(edges, 1, &[&puppet.argument("up")]).await;
    (cluster, puppet)
}

fn act() -> Value {
    call("act", &json!({}))
}

/// The texts of a stream that ends with a result.
fn texts(events: &[crate::cluster::listener::Event]) -> Vec<String> {
    let (last, before) = events.split_last().unwrap();
    let said = before.iter().filter(|event| !event.data.is_empty());
    said.map(crate::cluster::listener::Event::said)
        .chain([last.text()])
        .collect()
}

#[tokio::test]
async fn the_rest_comes_from_another_edge_when_the_first_is_killed() {
    let (mut cluster, mut puppet) = cluster(2).await;
    let mut session = Session::open(cluster.edges[0].listen).await;
    let ask = session.prepare("tools/call", &act());
    let (mut stream, mut line) =
        tokio::join!(Listener::open(cluster.edges[0].listen, &ask), async {
            let mut line = puppet.call().await;
            line.say("one").await;
            line
        });
    let prime = stream.next().await.unwrap();
    assert_eq!(prime.data, "");
    assert!(prime.retry.is_some_and(|ms| ms > 0), "{prime:?}");
    let one = stream.next().await.unwrap();
    assert_eq!(one.said(), "one");
    cluster.edges[0].process.kill().await;
    assert_eq!(stream.next().await, None);
    line.say("two").await;
    let other = cluster.edges[1].listen;
    let mut rest = Listener::listen(other, &session, Some(one.id())).await;
    assert_eq!(rest.message().await.said(), "two");
    line.say("three").await;
    assert_eq!(rest.message().await.said(), "three");
    line.answer("done").await;
    let events = rest.rest().await;
    assert_eq!(texts(&events), ["done"], "it ends after the response");
    assert_eq!(events[0].message()["id"], session.last());
}

#[tokio::test]
async fn a_call_that_ended_meanwhile_is_told_from_any_position() {
    let (cluster, mut puppet) = cluster(1).await;
    let peer = cluster.edges[0].listen;
    let mut session = Session::open(peer).await;
    let ask = session.prepare("tools/call", &act());
    let (mut stream, mut line) = tokio::join!(Listener::open(peer, &ask), async {
        let mut line = puppet.call().await;
        line.say("one").await;
        line
    });
    let (prime, one) = (stream.next().await.unwrap(), stream.next().await.unwrap());
    drop(stream);
    line.say("two").await;
    line.answer("done").await;
    // Whether the call still runs or is over, the rest is the same.
    for (after, expected) in [
        (prime.id(), &["one", "two", "done"][..]),
        (one.id(), &["two", "done"]),
        (one.id(), &["two", "done"]),
    ] {
        let events = Listener::listen(peer, &session, Some(after))
            .await
            .rest()
            .await;
        assert_eq!(texts(&events), expected, "behind {after}");
        // One who has heard all is not made to listen to an empty stream.
        let last = get(&session, events.last().unwrap().id.as_deref());
        let reply = session.http.send(&last).await;
        refused(&reply, &Refusal(400, json!(null), -32000, "unknown_event"));
    }
}

#[tokio::test]
async fn a_quiet_call_can_be_resumed_too() {
    let (cluster, mut puppet) = cluster(1).await;
    let peer = cluster.edges[0].listen;
    let mut session = Session::open(peer).await;
    let ask = session.prepare("tools/call", &act());
    let (mut stream, mut line) = tokio::join!(Listener::open(peer, &ask), puppet.call());
    let prime = stream.next().await.unwrap();
    assert_eq!(prime.data, "");
    drop(stream);
    line.answer("late").await;
    let mut rest = Listener::listen(peer, &session, Some(prime.id())).await;
    assert_eq!(rest.message().await.text(), "late");
    assert_eq!(rest.next().await, None);
}

#[tokio::test]
async fn a_call_that_outlives_its_edge_goes_on_at_another() {
    let (cluster, mut puppet) = cluster(1).await;
    let keys = format!("--keys={}", cluster.ring.display());
    let hasty = ["--drain-delay=0", "--drain-grace=0"];
    let args = [&[cluster.peers[0].as_str(), &keys][..], &hasty].concat();
    let mut leaving = Server::edge(&args);
    leaving.serving().await;
    let mut session = Session::open(leaving.listen).await;
    let ask = session.prepare("tools/call", &act());
    let (mut stream, mut line) = tokio::join!(Listener::open(leaving.listen, &ask), async {
        let mut line = puppet.call().await;
        line.say("one").await;
        line
    });
    let one = stream.message().await;
    leaving.process.signal(Signal::TERM);
    let last = stream.rest().await.pop().unwrap();
    assert_eq!((last.id.as_deref(), &*last.data), (Some(one.id()), ""));
    line.answer("done").await;
    let peer = cluster.edges[0].listen;
    let mut rest = Listener::listen(peer, &session, Some(last.id())).await;
    assert_eq!(rest.message().await.text(), "done");
}

#[tokio::test]
async fn a_plain_answer_has_no_id() {
    let (cluster, mut puppet) = cluster(1).await;
    let mut session = Session::open(cluster.edges[0].listen).await;
    let ask = session.prepare("tools/call", &act());
    session.http.start(&ask).await;
    puppet.call().await.answer("at once").await;
    let reply = session.reply().await;
    assert_eq!(reply.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn of_a_flood_the_end_is_kept_and_the_response() {
    const FLOOD: usize = 2000;
    let (cluster, mut puppet) = cluster(1).await;
    let peer = cluster.edges[0].listen;
    let mut session = Session::open(peer).await;
    let ask = session.prepare("tools/call", &act());
    let (mut stream, mut line) = tokio::join!(Listener::open(peer, &ask), async {
        let mut line = puppet.call().await;
        line.say("0").await;
        line
    });
    let first = stream.message().await;
    drop(stream);
    for n in 1..=FLOOD {
        line.say(&n.to_string()).await;
    }
    line.answer("done").await;
    // The response may come while the rest is told: it ends the stream.
    let events = Listener::listen(peer, &session, Some(first.id()))
        .await
        .rest()
        .await;
    let texts = texts(&events);
    assert_eq!(texts.last().unwrap(), "done");
    let told: Vec<usize> = texts[..texts.len() - 1]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
    assert!(told.windows(2).all(|pair| pair[0] < pair[1]), "in order");
    assert_eq!(told.last(), Some(&FLOOD), "the newest are kept");
}

#[tokio::test]
async fn a_second_reader_takes_the_place_of_one_that_does_not_read() {
    let (cluster, mut puppet) = cluster(1).await;
    let peer = cluster.edges[0].listen;
    let mut session = Session::open(peer).await;
    let ask = session.prepare("tools/call", &act());
    let (mut slow, mut line) = tokio::join!(Listener::open(peer, &ask), async {
        let mut line = puppet.call().await;
        line.say("first").await;
        line
    });
    let first = slow.message().await;
    // More than all buffers hold: the upstream's words get stuck behind `slow`.
    let flood = tokio::spawn(async move {
        for _ in 0..400 {
            line.say(&"x".repeat(64 << 10)).await;
        }
        line.answer("done").await;
    });
    let events = Listener::listen(peer, &session, Some(first.id()))
        .await
        .rest()
        .await;
    assert_eq!(events.last().unwrap().text(), "done");
    wait::within("the flood's end", flood).await.unwrap();
    drop(slow);
}

#[tokio::test]
async fn an_id_used_twice_at_once_gets_two_answers() {
    let (cluster, mut puppet) = cluster(1).await;
    let peer = cluster.edges[0].listen;
    let mut session = Session::open(peer).await;
    let ask = session.prepare("tools/call", &act());
    session.http.start(&ask).await;
    let mut one = puppet.call().await;
    let mut again = crate::cluster::http::Http::connect(peer).await;
    again.start(&ask).await;
    let mut two = puppet.call().await;
    two.answer("two").await;
    let second = wait::within("the second reply", again.reply())
        .await
        .unwrap();
    assert_eq!(crate::cluster::mcp::text(&second), "two");
    one.answer("one").await;
    assert_eq!(crate::cluster::mcp::text(&session.reply().await), "one");
}

#[tokio::test]
async fn a_half_closed_connection_is_one_that_is_lost() {
    let (cluster, mut puppet) = cluster(1).await;
    let peer = cluster.edges[0].listen;
    let mut session = Session::open(peer).await;
    let ask = session.prepare("tools/call", &act());
    let (mut stream, mut line) = tokio::join!(Listener::open(peer, &ask), async {
        let mut line = puppet.call().await;
        line.say("one").await;
        line
    });
    let one = stream.message().await;
    stream.shut().await;
    assert_eq!(stream.rest().await, []);
    line.answer("done").await;
    let mut rest = Listener::listen(peer, &session, Some(one.id())).await;
    assert_eq!(rest.message().await.text(), "done");
}
