//! A real admin server on a free port, spoken to in plain bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hexagram_runtime::admin::{Admin, Error};
use hexagram_runtime::health::Health;
use hexagram_runtime::metrics::Metrics;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Far above what any step takes: it only turns a hang into a failure.
const DEADLINE: Duration = Duration::from_secs(60);

struct Server {
    addr: SocketAddr,
    health: Health,
    stop: CancellationToken,
    run: JoinHandle<()>,
}

async fn bind(addr: SocketAddr, health: Health) -> Result<Admin, Error> {
    let status = Arc::new(|| json!({ "role": "edge", "links": 2 }));
    Admin::bind(addr, health, Metrics::new(), status).await
}

impl Server {
    async fn start() -> Self {
        let (health, stop) = (Health::new(), CancellationToken::new());
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let admin = bind(any, health.clone()).await.expect("a free port");
        Self {
            addr: admin.local_addr(),
            health,
            run: tokio::spawn(admin.run(stop.clone())),
            stop,
        }
    }

    /// Sends bytes and reads until the server closes.
    async fn raw(&self, bytes: &str) -> String {
        let mut stream = TcpStream::connect(self.addr).await.expect("it listens");
        stream.write_all(bytes.as_bytes()).await.expect("it reads");
        read_to_end(&mut stream).await
    }

    /// The status code, head and body of an answer.
    async fn ask(&self, method: &str, path: &str) -> (u16, String, String) {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = self.raw(&request).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        (
            code.expect("a status code"),
            head.to_lowercase(),
            body.to_owned(),
        )
    }

    async fn json(&self, path: &str) -> (u16, Value) {
        let (code, head, body) = self.ask("GET", path).await;
        assert!(head.contains("content-type: application/json"), "{head}");
        (code, serde_json::from_str(&body).expect("a JSON body"))
    }
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    let read = timeout(DEADLINE, stream.read_to_string(&mut answer)).await;
    read.expect("closed in time").expect("it is text");
    answer
}

#[tokio::test]
async fn livez_answers_even_when_nothing_is_ready() {
    let server = Server::start().await;
    let _never = server.health.condition("map");
    server.health.drain();
    assert_eq!(server.json("/livez").await, (200, json!({ "live": true })));
}

#[tokio::test]
async fn readyz_lists_every_condition_and_why() {
    let server = Server::start().await;
    let (links, map) = (
        server.health.condition("links"),
        server.health.condition("map"),
    );
    links.set(true, "2 workers");
    let (code, body) = server.json("/readyz").await;
    assert_eq!(code, 503);
    let expected = json!({
        "ready": false,
        "draining": false,
        "conditions": {
            "links": { "ready": true, "why": "2 workers" },
            "map": { "ready": false, "why": "starting" },
        },
    });
    assert_eq!(body, expected);
    map.set(true, "version 7");
    assert_eq!(server.json("/readyz").await.0, 200);
    server.health.drain();
    let (code, body) = server.json("/readyz").await;
    assert_eq!((code, &body["draining"]), (503, &json!(true)));
}

#[tokio::test]
async fn metrics_and_status_are_served() {
    let server = Server::start().await;
    let (code, head, body) = server.ask("GET", "/metrics").await;
    assert_eq!(code, 200);
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    assert!(body.contains("\nprocess_start_time_seconds "), "{body}");
    let (code, status) = server.json("/status?pretty=1").await;
    assert_eq!((code, status), (200, json!({ "role": "edge", "links": 2 })));
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_in_json() {
    let server = Server::start().await;
    let (code, body) = server.json("/admin").await;
    assert_eq!(code, 404);
    assert!(
        body["error"]
            .as_str()
            .is_some_and(|error| error.contains("/admin"))
    );
    let (code, head, body) = server.ask("POST", "/status").await;
    assert_eq!(code, 405);
    assert!(head.contains("allow: get, head"), "{head}");
    assert!(body.contains("use GET"), "{body}");
    let (code, _, body) = server.ask("HEAD", "/status").await;
    assert_eq!((code, body.as_str()), (200, ""));
}

#[tokio::test]
async fn garbage_costs_its_own_connection_only() {
    let server = Server::start().await;
    let answer = server.raw("\u{0}\u{1}nonsense\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(server.json("/livez").await.0, 200);
}

/// The paused clock jumps to the next timer as soon as nothing else can run.
#[tokio::test(start_paused = true)]
async fn silent_and_idle_connections_are_closed() {
    let server = Server::start().await;
    assert_eq!(server.raw("").await, "");
    assert_eq!(server.raw("GET /livez HTTP/1.1\r\nhost:").await, "");
    let answer = server.raw("GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn stopping_closes_idle_connections_and_frees_the_port() {
    let server = Server::start().await;
    let mut idle = TcpStream::connect(server.addr).await.expect("it listens");
    assert_eq!(server.json("/livez").await.0, 200);
    server.stop.cancel();
    let ended = timeout(DEADLINE, server.run).await;
    ended.expect("it stops in time").expect("it does not panic");
    assert_eq!(read_to_end(&mut idle).await, "");
    bind(server.addr, Health::new())
        .await
        .expect("the port is free again");
}

#[tokio::test]
async fn a_taken_port_is_named_with_the_flag_to_change() {
    let server = Server::start().await;
    let error = bind(server.addr, Health::new())
        .await
        .err()
        .expect("it is taken");
    assert!(matches!(error, Error::InUse { addr } if addr == server.addr));
    assert!(error.to_string().contains("--admin"), "{error}");
}

#[tokio::test]
async fn an_address_of_another_machine_is_named_with_the_flag_to_change() {
    let elsewhere = SocketAddr::from(([192, 0, 2, 1], 0));
    let error = bind(elsewhere, Health::new())
        .await
        .err()
        .expect("not ours");
    let message = error.to_string();
    assert!(
        message.contains("192.0.2.1:0") && message.contains("--admin"),
        "{message}"
    );
}
