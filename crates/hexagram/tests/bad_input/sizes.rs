//! Messages over the limit: refused, without harm to the connection, and
//! without the memory that the sender would like to take.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::cluster::http::{Ask, Http, Reply};
use crate::cluster::mcp::{Refusal, Session, echo, refused, text};
use crate::cluster::{Server, proc_table, wait};

const LIMIT: usize = 1 << 20;
const MIB: usize = 1 << 20;
const HUGE: usize = 100 * MIB;
/// A process that reads a huge body piece by piece needs less than this more, in KiB.
const SLACK_KIB: u64 = 40 << 10;

fn too_large() -> Refusal<'static> {
    Refusal(413, Value::Null, -32000, "too_large")
}

async fn server() -> (Server, Session) {
    let server = Server::local(&["--demo=echo"]).await;
    let session = Session::open(server.listen).await;
    (server, session)
}

/// A call whose body has exactly so many bytes.
fn call_of(session: &mut Session, size: usize) -> (Ask, String) {
    let empty = request_body(session, "").len();
    let message = "x".repeat(size - empty);
    let body = request_body(session, &message);
    assert_eq!(body.len(), size);
    (session.signed(Ask::post(body)), message)
}

fn request_body(_: &Session, message: &str) -> String {
    crate::cluster::mcp::request(9, "tools/call", &echo(message))
}

#[tokio::test]
async fn the_limit_itself_is_fine() {
    let (_server, mut session) = server().await;
    let (ask, message) = call_of(&mut session, LIMIT);
    assert_eq!(text(&session.http.send(&ask).await), message);
    assert_eq!(text(&session.http.send(&ask.chunked()).await), message);
}

/// The connection that carried the refused body carries the next call.
#[tokio::test]
async fn over_the_limit() {
    let (_server, mut session) = server().await;
    for size in [LIMIT + 1, 2 * MIB, 10 * MIB] {
        let (ask, _) = call_of(&mut session, size);
        for ask in [ask.clone(), ask.chunked()] {
            refused(&session.http.send(&ask).await, &too_large());
            let reply = session.call("echo", &json!({"message": "after"})).await;
            assert_eq!(text(&reply), "after");
        }
    }
}

#[tokio::test]
async fn a_configured_limit() {
    let server = Server::local(&["--demo=echo", "--max-message=2048"]).await;
    let mut session = Session::open(server.listen).await;
    let (ask, _) = call_of(&mut session, 2049);
    let error = refused(&session.http.send(&ask).await, &too_large());
    assert!(error["message"].as_str().unwrap().contains("2048"));
    let (ask, message) = call_of(&mut session, 2048);
    assert_eq!(text(&session.http.send(&ask).await), message);
}

/// Sends a huge body for as long as somebody reads it; gives the reply, if
/// there was one before the connection ended.
async fn flood(peer: SocketAddr, head: &str, piece: &[u8], count: usize) -> Option<Reply> {
    let mut http = Http::connect(peer).await;
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {peer}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\n{head}\r\n\r\n"
    );
    http.write(head.as_bytes()).await.unwrap();
    for _ in 0..count {
        let sent = wait::within("a piece of the body", http.write(piece)).await;
        if sent.is_err() {
            break;
        }
    }
    wait::within("the refusal", http.reply()).await.ok()
}

#[tokio::test]
async fn a_hundred_megabytes() {
    let (server, mut session) = server().await;
    let pid = server.process.pid();
    let before = proc_table::resident_kib(pid);
    let chunk = [
        format!("{MIB:x}\r\n").into_bytes(),
        vec![b'x'; MIB],
        b"\r\n".to_vec(),
    ]
    .concat();
    let length = format!("content-length: {HUGE}");
    let floods = tokio::join!(
        flood(server.listen, &length, &chunk[8..][..MIB], 100),
        flood(server.listen, "transfer-encoding: chunked", &chunk, 100),
    );
    for reply in [floods.0, floods.1].into_iter().flatten() {
        refused(&reply, &too_large());
    }
    let after = proc_table::resident_kib(pid);
    assert!(
        after < before + SLACK_KIB,
        "{before} KiB before, {after} after"
    );
    assert_eq!(
        text(&session.call("echo", &json!({"message": "x"})).await),
        "x"
    );
}

/// Bodies that are announced and never come hold nothing but their connections.
#[tokio::test]
async fn bodies_that_never_come() {
    let (server, mut session) = server().await;
    let before = proc_table::resident_kib(server.process.pid());
    let mut waiting = Vec::new();
    for _ in 0..50 {
        let mut http = Http::connect(server.listen).await;
        let ask = session
            .signed(Ask::post(vec![b' '; LIMIT]))
            .bytes(server.listen);
        http.write(&ask[..ask.len() - LIMIT + 1]).await.unwrap();
        waiting.push(http);
    }
    assert_eq!(
        text(&session.call("echo", &json!({"message": "x"})).await),
        "x"
    );
    let after = proc_table::resident_kib(server.process.pid());
    assert!(
        after < before + SLACK_KIB,
        "{before} KiB before, {after} after"
    );
}
