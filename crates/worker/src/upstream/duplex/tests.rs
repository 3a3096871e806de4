//! A session whose upstream is the test itself.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::super::tests::{message, next, soon};
use super::super::{Connection, UpstreamError};
use super::Duplex;
use super::waiting::{BACKLOG, QUEUE};

const SILENCE: Duration = Duration::from_secs(60);

/// The upstream's end of a session.
struct Peer {
    to_us: mpsc::Sender<Bytes>,
    from_us: mpsc::Receiver<Bytes>,
}

impl Peer {
    async fn say(&self, message: Value) {
        let message = Bytes::from(message.to_string());
        soon(self.to_us.send(message)).await.expect("a session");
    }

    async fn hears(&mut self) -> Value {
        let message = soon(self.from_us.recv()).await.expect("a session");
        serde_json::from_slice(&message).expect("JSON")
    }
}

fn session(silence: Duration) -> (Duplex, Peer) {
    let (outgoing, from_us) = mpsc::channel(8);
    let (to_us, incoming) = mpsc::channel(8);
    let peer = Peer { to_us, from_us };
    (Duplex::new(outgoing, incoming, silence), peer)
}

fn call(id: &str) -> Bytes {
    let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call"});
    Bytes::from(call.to_string())
}

async fn begin(duplex: &Duplex, peer: &mut Peer, id: &str) -> super::Incoming {
    let raw = format!("\"{id}\"");
    let incoming = duplex.request(&raw, call(id)).await.expect("it is open");
    assert_eq!(peer.hears().await["id"], id);
    incoming
}

fn response(id: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": {"to": id}})
}

fn progress(token: &str) -> Value {
    let params = json!({"progressToken": token, "progress": 1});
    json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
}

fn log() -> Value {
    let params = json!({"level": "info", "data": "x"});
    json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params})
}

fn changed() -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
}

fn question(id: usize) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "roots/list"})
}

#[tokio::test]
async fn answers_and_progress_find_their_requests() {
    let (duplex, mut peer) = session(SILENCE);
    let mut standing = duplex.standing();
    let mut one = begin(&duplex, &mut peer, "1.1").await;
    let mut two = begin(&duplex, &mut peer, "1.2").await;
    for said in [progress("1.1"), response("1.2"), response("1.1"), log()] {
        peer.say(said).await;
    }
    assert_eq!(message(&mut two).await, response("1.2"));
    assert!(next(&mut two).await.is_none(), "a response is the last");
    assert_eq!(message(&mut one).await, progress("1.1"));
    assert_eq!(message(&mut one).await, response("1.1"));
    assert_eq!(message(&mut standing).await, log());
}

#[tokio::test]
async fn unrelated_messages_go_to_the_newest_call_without_a_standing_stream() {
    let (duplex, mut peer) = session(SILENCE);
    let _one = begin(&duplex, &mut peer, "1.1").await;
    let mut two = begin(&duplex, &mut peer, "1.2").await;
    drop(duplex.standing());
    peer.say(changed()).await;
    assert_eq!(message(&mut two).await, changed());
}

#[tokio::test]
async fn a_slow_reader_loses_chatter_and_nothing_else() {
    let (duplex, mut peer) = session(SILENCE);
    let mut quick = begin(&duplex, &mut peer, "1.1").await;
    let mut slow = begin(&duplex, &mut peer, "1.2").await;
    for _ in 0..QUEUE {
        peer.say(log()).await;
    }
    for said in [log(), progress("1.2"), response("1.2"), response("1.1")] {
        peer.say(said).await;
    }
    assert_eq!(message(&mut quick).await, response("1.1"));
    for _ in 0..QUEUE {
        assert_eq!(message(&mut slow).await, log());
    }
    assert_eq!(message(&mut slow).await, response("1.2"));
}

#[tokio::test]
async fn a_question_that_finds_no_room_ends_the_slow_call() {
    let (duplex, mut peer) = session(SILENCE);
    let mut quick = begin(&duplex, &mut peer, "1.1").await;
    let mut slow = begin(&duplex, &mut peer, "1.2").await;
    for _ in 0..QUEUE {
        peer.say(log()).await;
    }
    for said in [question(1), response("1.2"), response("1.1")] {
        peer.say(said).await;
    }
    assert_eq!(message(&mut quick).await, question(1));
    assert_eq!(message(&mut quick).await, response("1.1"));
    for _ in 0..QUEUE {
        assert_eq!(message(&mut slow).await, log());
    }
    let end = next(&mut slow).await;
    assert!(matches!(end, Some(Err(UpstreamError::TooSlow))), "{end:?}");
    assert!(next(&mut slow).await.is_none());
}

#[tokio::test]
async fn what_nobody_reads_waits_for_the_next_reader() {
    let (duplex, mut peer) = session(SILENCE);
    peer.say(progress("1.0")).await;
    peer.say(changed()).await;
    for id in 1..BACKLOG {
        peer.say(question(id)).await;
    }
    peer.say(changed()).await;
    peer.say(question(100)).await;
    let refused = peer.hears().await;
    assert_eq!(refused["id"], 100);
    assert_eq!(refused["error"]["code"], -32603);

    let mut standing = duplex.standing();
    assert_eq!(message(&mut standing).await, changed());
    for id in 1..BACKLOG {
        assert_eq!(message(&mut standing).await, question(id));
    }
    peer.say(question(101)).await;
    assert_eq!(message(&mut standing).await, question(101));
}

#[tokio::test]
async fn our_own_requests_leave_clients_their_messages() {
    let (duplex, mut peer) = session(SILENCE);
    let mut client = begin(&duplex, &mut peer, "1.1").await;
    let mut ours = duplex
        .ask("\"1.2\"", call("1.2"))
        .await
        .expect("it is open");
    for said in [question(1), response("1.2")] {
        peer.say(said).await;
    }
    assert_eq!(message(&mut ours).await, response("1.2"));
    assert_eq!(message(&mut client).await, question(1));
}

#[tokio::test]
async fn questions_during_our_own_request_are_refused() {
    let (duplex, mut peer) = session(SILENCE);
    let connection = Connection::Duplex(duplex);
    let upstream = async {
        assert_eq!(peer.hears().await["id"], "1.1");
        peer.say(question(1)).await;
        assert_eq!(peer.hears().await["error"]["code"], -32603);
        peer.say(json!({"jsonrpc": "2.0", "id": 2, "method": "ping"}))
            .await;
        assert_eq!(peer.hears().await["result"], json!({}));
        peer.say(response("1.1")).await;
    };
    let (answer, ()) = tokio::join!(connection.ask("\"1.1\"", call("1.1")), upstream);
    let answer: Value = serde_json::from_slice(&answer.expect("an answer")).expect("JSON");
    assert_eq!(answer, response("1.1"));
}

#[tokio::test]
async fn the_end_of_either_side_ends_every_reader() {
    for ours in [true, false] {
        let (duplex, mut peer) = session(SILENCE);
        let mut standing = duplex.standing();
        let mut call_ = begin(&duplex, &mut peer, "1.1").await;
        if ours {
            duplex.close();
            assert!(!duplex.is_open());
        } else {
            drop(peer.to_us);
        }
        assert!(next(&mut call_).await.is_none());
        assert!(next(&mut standing).await.is_none());
        assert!(!duplex.is_open());
        let again = duplex.request("\"1.2\"", call("1.2")).await;
        let error = again.err().expect("it is over");
        assert!(matches!(error, UpstreamError::Unreachable(_)), "{error}");
    }
}

#[tokio::test]
async fn silence_ends_a_request() {
    let (duplex, mut peer) = session(Duration::from_millis(50));
    let mut silent = begin(&duplex, &mut peer, "1.1").await;
    let end = next(&mut silent).await;
    assert!(
        matches!(end, Some(Err(UpstreamError::Silent(_)))),
        "{end:?}"
    );
    assert!(next(&mut silent).await.is_none());
}

#[tokio::test]
async fn an_upstream_that_takes_nothing_cannot_have_acted() {
    let (duplex, _peer) = session(Duration::from_millis(50));
    let error = loop {
        if let Err(error) = soon(duplex.send(call("1.1"))).await {
            break error;
        }
    };
    assert!(!error.may_have_acted());
    assert!(error.to_string().contains("read nothing"), "{error}");
}

fn close_stream(id: &str) -> Value {
    json!({"jsonrpc": "2.0", "method": super::super::CLOSE_STREAM, "params": {"requestId": id}})
}

#[tokio::test]
async fn letting_a_client_go_concerns_its_request_alone() {
    let (duplex, mut peer) = session(SILENCE);
    let mut standing = duplex.standing();
    let mut first = begin(&duplex, &mut peer, "1").await;
    let mut second = begin(&duplex, &mut peer, "2").await;
    peer.say(close_stream("1")).await;
    peer.say(response("1")).await;
    // The request is over: nobody is to be let go.
    peer.say(close_stream("1")).await;
    peer.say(response("2")).await;
    peer.say(log()).await;
    assert_eq!(
        message(&mut first).await["method"],
        super::super::CLOSE_STREAM
    );
    assert_eq!(message(&mut first).await["id"], "1");
    assert_eq!(message(&mut second).await["id"], "2");
    assert_eq!(
        message(&mut standing).await["method"],
        "notifications/message"
    );
}
