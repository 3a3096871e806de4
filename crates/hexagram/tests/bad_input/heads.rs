//! Request heads that are no HTTP, are too large, or never end: they cost the
//! client its connection and nobody else anything.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::cluster::http::{Ask, Http};
use crate::cluster::mcp::{Refusal, Session, echo, refused, text};
use crate::cluster::{Server, proc_table, wait};

/// Longest head, in bytes.
const LIMIT: usize = 64 << 10;
/// Clients that never finish their requests.
const MANY: usize = 300;
/// What they may hold, in KiB.
const SLACK_KIB: u64 = 60 << 10;

async fn server(args: &[&str]) -> (Server, Session) {
    let server = Server::local(&[&["--demo=echo"], args].concat()).await;
    let session = Session::open(server.listen).await;
    (server, session)
}

async fn goes_on(session: &mut Session) {
    let reply = session.call("echo", &json!({"message": "y"})).await;
    assert_eq!(text(&reply), "y");
}

/// The status of what a new connection answers to these bytes.
async fn status(peer: SocketAddr, bytes: &[u8]) -> u16 {
    let mut http = Http::connect(peer).await;
    http.write(bytes).await.unwrap();
    let head = wait::within("the head of the reply", http.head()).await;
    head.unwrap().status
}

#[tokio::test]
async fn heads_that_are_too_large() {
    let (server, mut session) = server(&[]).await;
    let call = session.prepare("tools/call", &echo("x"));
    let fine = call.clone().header("x-long", &"y".repeat(32 << 10));
    assert_eq!(text(&session.http.send(&fine).await), "x");
    // Cut where it is refused: what nobody reads would reset the connection.
    let mut long = b"POST /mcp HTTP/1.1\r\nx-long: ".to_vec();
    long.resize(LIMIT, b'y');
    let many = (0..100).fold(call.clone(), |ask, n| ask.header(&format!("x-{n}"), "y"));
    for head in [long, many.bytes(server.listen)] {
        assert_eq!(status(server.listen, &head).await, 431);
    }
    goes_on(&mut session).await;
}

#[tokio::test]
async fn heads_that_are_not_http() {
    let (server, mut session) = server(&[]).await;
    for head in [
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\nno colon here\r\n\r\n",
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\nx: a\0b\r\n\r\n",
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n",
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip\r\n\r\n",
        "POST /mcp HTTP/9.0\r\nhost: localhost\r\n\r\n",
    ] {
        eprintln!("{head:?}");
        assert_eq!(status(server.listen, head.as_bytes()).await, 400);
    }
    goes_on(&mut session).await;
}

#[tokio::test]
async fn no_host() {
    let (server, _session) = server(&[]).await;
    let mut http = Http::connect(server.listen).await;
    http.write(b"POST /mcp HTTP/1.1\r\ncontent-length: 0\r\n\r\n")
        .await
        .unwrap();
    let reply = wait::within("the refusal", http.reply()).await.unwrap();
    let expected = Refusal(400, Value::Null, -32600, "invalid_request");
    let error = refused(&reply, &expected);
    assert!(error["message"].as_str().unwrap().contains("Host"));
}

/// Slow loris: heads of which a piece comes now and then hold a bounded piece
/// of memory, and their connections no longer than `--idle-timeout`.
#[tokio::test]
async fn heads_that_never_end() {
    let (server, mut session) = server(&["--idle-timeout=2"]).await;
    let pid = server.process.pid();
    let before = proc_table::resident_kib(pid);
    let mut slow = Vec::new();
    for _ in 0..MANY {
        let mut http = Http::connect(server.listen).await;
        http.write(b"POST /mcp HTTP/1.1\r\nhost: localhost\r\nx-long: ")
            .await
            .unwrap();
        http.write(&vec![b'y'; 60 << 10]).await.unwrap();
        slow.push(http);
    }
    session.reconnect(server.listen).await;
    goes_on(&mut session).await;
    let after = proc_table::resident_kib(pid);
    assert!(
        after < before + SLACK_KIB,
        "{before} KiB before, {after} after"
    );
    for http in &mut slow {
        // The server may have closed it already.
        let _ = http.write(b"y").await;
        http.closed().await;
    }
    session.reconnect(server.listen).await;
    goes_on(&mut session).await;
}

/// Over the limit clients wait until another leaves.
#[tokio::test]
async fn connections_over_the_limit() {
    let (server, first) = server(&["--max-connections=2"]).await;
    let mut second = Http::connect(server.listen).await;
    assert_eq!(second.send(&Ask::get("/")).await.status, 404);
    let mut third = Http::connect(server.listen).await;
    third.start(&Ask::get("/")).await;
    assert_eq!(server.metric("hexagram_edge_connections").await, 2);
    drop(first);
    let reply = wait::within("the reply", third.reply()).await.unwrap();
    assert_eq!(reply.status, 404);
    assert_eq!(second.send(&Ask::get("/")).await.status, 404);
}
