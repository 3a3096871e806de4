//! Session ids that are missing, forged, expired or over: 400 or 404, never a
//! hint at what is wrong with one.

use std::fs;

use serde_json::{Value, json};

use hexagram_core::{KeyRing, Sealer};

use crate::cluster::http::{Ask, Http};
use crate::cluster::listener::Listener;
use crate::cluster::mcp::{Refusal, Session, echo, refused, result, text};
use crate::cluster::{Cluster, Server, wait};

const SSE: &str = "text/event-stream";

/// The same request as POST, GET and DELETE.
fn three_ways(session: &mut Session) -> [Ask; 3] {
    [
        session.prepare("tools/call", &echo("x")),
        session.signed(Ask::get("/mcp").header("accept", SSE)),
        session.signed(Ask::new("DELETE", "/mcp")),
    ]
}

/// Expects 404 for every use of the session.
async fn is_unknown(session: &mut Session) {
    let [post, get, delete] = three_ways(session);
    for (ask, id) in [
        (post, session.last()),
        (get, Value::Null),
        (delete, Value::Null),
    ] {
        let reply = session.http.send(&ask).await;
        refused(&reply, &Refusal(404, id, -32001, "session_not_found"));
    }
}

#[tokio::test]
async fn no_session() {
    let server = Server::local(&["--demo=echo"]).await;
    let mut session = Session::open(server.listen).await;
    let [post, get, delete] = three_ways(&mut session).map(|ask| ask.without("mcp-session-id"));
    let id = session.last();
    for (ask, id) in [(post, id), (get, Value::Null), (delete, Value::Null)] {
        let reply = session.http.send(&ask).await;
        refused(&reply, &Refusal(400, id, -32000, "session_required"));
    }
}

#[tokio::test]
async fn forged_ids() {
    let server = Server::local(&["--demo=echo"]).await;
    let mut session = Session::open(server.listen).await;
    let real = session.id.clone();
    assert!(real.len() < 256 && real.bytes().all(|byte| (0x21..=0x7e).contains(&byte)));
    let cut = real[..real.len() - 1].to_owned();
    let uuid = "1868a90c-4f5a-4a6b-9a4f-000000000000".to_owned();
    let forged = [
        "x".to_owned(),
        uuid,
        cut,
        format!("{real}A"),
        "A".repeat(real.len()),
        "z".repeat(4000),
    ];
    for id in forged {
        session.id = id;
        is_unknown(&mut session).await;
    }
    session.id = real;
    assert_eq!(
        text(&session.call("echo", &json!({"message": "x"})).await),
        "x"
    );
}

/// One changed character anywhere, in any bit that keeps it a header value.
#[tokio::test]
async fn flipped_bits() {
    let server = Server::local(&["--demo=echo"]).await;
    let mut session = Session::open(server.listen).await;
    let real = session.id.clone();
    for position in 0..real.len() {
        let mut bytes = real.clone().into_bytes();
        bytes[position] ^= 1 << (position % 5);
        session.id = String::from_utf8(bytes).unwrap();
        if !session.id.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) {
            continue;
        }
        let ask = session.prepare("tools/call", &echo("x"));
        let reply = session.http.send(&ask).await;
        refused(
            &reply,
            &Refusal(404, session.last(), -32001, "session_not_found"),
        );
    }
}

#[tokio::test]
async fn an_empty_id_and_two_ids() {
    let server = Server::local(&["--demo=echo"]).await;
    let mut session = Session::open(server.listen).await;
    let call = session.prepare("tools/call", &echo("x"));
    let unknown = Refusal(404, session.last(), -32001, "session_not_found");
    let id = session.id.clone();
    refused(
        &session
            .http
            .send(&call.clone().header("mcp-session-id", ""))
            .await,
        &unknown,
    );
    refused(
        &session.http.send(&call.also("mcp-session-id", &id)).await,
        &unknown,
    );
}

#[tokio::test]
async fn a_deleted_session_stays_deleted() {
    let server = Server::local(&["--demo=echo"]).await;
    let mut session = Session::open(server.listen).await;
    let mut neighbour = Session::open(server.listen).await;
    let reply = session.delete().await;
    assert!([200, 204].contains(&reply.status), "{reply:?}");
    is_unknown(&mut session).await;
    session.reconnect(server.listen).await;
    is_unknown(&mut session).await;
    assert_eq!(
        text(&neighbour.call("echo", &json!({"message": "n"})).await),
        "n"
    );
}

#[tokio::test]
async fn a_deleted_session_stays_deleted_behind_every_edge() {
    let cluster = Cluster::start(2, 2, &["--demo=echo"]).await;
    let mut session = Session::open(cluster.edges[0].listen).await;
    session.reconnect(cluster.edges[1].listen).await;
    assert_eq!(session.delete().await.status, 200);
    for edge in &cluster.edges {
        session.reconnect(edge.listen).await;
        is_unknown(&mut session).await;
    }
}

/// An id of the same cluster that was minted a day and an hour ago.
#[tokio::test]
async fn an_expired_id() {
    let cluster = Cluster::start(1, 1, &["--demo=echo"]).await;
    let mut session = Session::open(cluster.edges[0].listen).await;
    let ring = KeyRing::parse(&fs::read_to_string(&cluster.ring).unwrap()).unwrap();
    let sealer = Sealer::new(&ring, "hexagram");
    let mut claims = sealer.open_session(&session.id).unwrap();
    session.id = sealer.seal_session([7; 24], &claims);
    assert_eq!(
        text(&session.call("echo", &json!({"message": "x"})).await),
        "x"
    );
    claims.created -= 25 * 3600;
    session.id = sealer.seal_session([8; 24], &claims);
    is_unknown(&mut session).await;
}

/// Gives all processes another ring, and waits until they have it.
async fn have_ring(cluster: &Cluster, ring: &KeyRing) {
    fs::write(&cluster.ring, ring.to_text()).unwrap();
    let keys = ring.fingerprints().into_iter();
    let keys: Vec<_> = keys.map(|key| format!("{key:016x}")).collect();
    for server in cluster.workers.iter().chain(&cluster.edges) {
        wait::until("the ring at every process", async || {
            (server.status().await["keys"] == json!(keys)).then_some(())
        })
        .await;
    }
}

/// The ring is rotated by hand; no process restarts.
#[tokio::test]
async fn an_id_of_a_dropped_key() {
    let cluster = Cluster::start(1, 1, &["--demo=echo"]).await;
    let edge = cluster.edges[0].listen;
    let mut old = Session::open(edge).await;
    let ring = KeyRing::parse(&fs::read_to_string(&cluster.ring).unwrap()).unwrap();
    let accepts = ring.with_another([9; 32]).unwrap();
    let [first, second] = accepts.fingerprints()[..] else {
        panic!("two keys")
    };
    let mints = accepts.clone().minting(second);
    have_ring(&cluster, &accepts).await;
    have_ring(&cluster, &mints).await;
    let mut young = Session::open(edge).await;
    for session in [&mut old, &mut young] {
        assert_eq!(
            text(&session.call("echo", &json!({"message": "x"})).await),
            "x"
        );
    }
    let mut old_stream = Listener::listen(edge, &old, None).await;
    let mut young_stream = Listener::listen(edge, &young, None).await;
    for stream in [&mut old_stream, &mut young_stream] {
        assert!(stream.next().await.is_some(), "where it begins");
    }
    have_ring(&cluster, &mints.without(first)).await;
    is_unknown(&mut old).await;
    let last = old_stream.rest().await.pop();
    assert!(last.is_some_and(|event| event.retry.is_some()), "resumably");
    wait::until("the other stream alone", async || {
        let streams = cluster.edges[0].metric("hexagram_edge_streams").await;
        (streams == 1).then_some(())
    })
    .await;
    assert_eq!(
        text(&young.call("echo", &json!({"message": "y"})).await),
        "y"
    );
    let log = cluster.edges[0].process.log();
    assert!(!log.contains("link down"), "{log}");
}

/// Keys of another cluster open nothing here.
#[tokio::test]
async fn an_id_of_another_cluster() {
    let (here, there) = tokio::join!(
        Server::local(&["--demo=echo"]),
        Server::local(&["--demo=echo"])
    );
    let mut session = Session::open(there.listen).await;
    session.reconnect(here.listen).await;
    is_unknown(&mut session).await;
    let mut http = Http::connect(here.listen).await;
    assert_eq!(
        result(&http.send(&crate::cluster::mcp::initialize()).await)["protocolVersion"],
        "2025-11-25"
    );
}
