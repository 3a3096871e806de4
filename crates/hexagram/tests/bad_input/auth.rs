//! Who may come in: API keys, and names that only a proxy may give.

use std::fs;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::http::{Ask, Http, Reply};
use crate::cluster::mcp::{Refusal, Session, echo, initialize, modern, refused, text};
use crate::cluster::process::Launch;
use crate::cluster::{Server, wait};

/// A fresh key of `name`: its line for the file, and the key.
fn key(name: &str) -> (String, String) {
    let made = Launch::hexagram()
        .args(["keys", "api", name])
        .command()
        .output()
        .unwrap();
    let line = String::from_utf8(made.stdout).unwrap();
    let said = String::from_utf8(made.stderr).unwrap();
    let key = said.trim().rsplit(' ').next().unwrap().to_owned();
    assert!(
        line.starts_with(&format!("{name} ")) && !line.contains(&key),
        "{line}"
    );
    (line, key)
}

/// A server that knows the keys of alice and bob.
struct Guarded {
    server: Server,
    folder: TempDir,
    lines: [String; 2],
    keys: [String; 2],
}

impl Guarded {
    async fn start() -> Self {
        let ((alice, alices), (bob, bobs)) = (key("alice"), key("bob"));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.txt");
        fs::write(&file, format!("{alice}{bob}")).unwrap();
        let file = format!("--auth-keys={}", file.display());
        let server = Server::local(&["--demo=echo", "--auth=api-keys", &file]).await;
        Self {
            server,
            folder,
            lines: [alice, bob],
            keys: [alices, bobs],
        }
    }

    async fn session(&self, whose: usize) -> Session {
        let bearer = format!("Bearer {}", self.keys[whose]);
        Session::open_as(self.server.listen, &[("authorization", &bearer)]).await
    }
}

#[track_caller]
fn unauthorized(reply: &Reply) {
    refused(reply, &Refusal(401, Value::Null, -32000, "unauthorized"));
    let challenge = reply.header("www-authenticate").unwrap_or_default();
    assert!(challenge.starts_with("Bearer"), "{reply:?}");
}

async fn send(peer: SocketAddr, ask: &Ask) -> Reply {
    Http::connect(peer).await.send(ask).await
}

#[tokio::test]
async fn a_wrong_key() {
    let guarded = Guarded::start().await;
    let [alice, _] = &guarded.keys;
    let wrong = [
        initialize(),
        initialize().header("authorization", "Bearer wrong"),
        initialize().header("authorization", &format!("Basic {alice}")),
        initialize().header("authorization", &format!("Bearer {alice}x")),
        initialize().header("authorization", &format!("Bearer {}", alice.to_uppercase())),
        initialize().header("x-api-key", ""),
        modern(1, "tools/call", &echo("x")),
        Ask::get("/mcp").header("accept", "text/event-stream"),
        Ask::new("DELETE", "/mcp"),
    ];
    for ask in wrong {
        eprintln!("{ask:?}");
        unauthorized(&send(guarded.server.listen, &ask).await);
    }
    let right = initialize().header("x-api-key", alice);
    assert_eq!(send(guarded.server.listen, &right).await.status, 200);
    let right =
        modern(1, "tools/call", &echo("x")).header("authorization", &format!("bearer {alice}"));
    assert_eq!(text(&send(guarded.server.listen, &right).await), "x");
}

#[tokio::test]
async fn a_session_of_another_principal() {
    let guarded = Guarded::start().await;
    let mut alice = guarded.session(0).await;
    let mut bob = guarded.session(1).await;
    let mut stolen = guarded.session(1).await;
    stolen.id.clone_from(&alice.id);
    let asks = [
        stolen.prepare("tools/call", &echo("x")),
        stolen.signed(Ask::get("/mcp").header("accept", "text/event-stream")),
        stolen.signed(Ask::new("DELETE", "/mcp")),
    ];
    let ids = [stolen.last(), Value::Null, Value::Null];
    for (ask, id) in asks.iter().zip(ids) {
        let reply = stolen.http.send(ask).await;
        refused(&reply, &Refusal(404, id, -32001, "session_not_found"));
    }
    for own in [&mut alice, &mut bob] {
        assert_eq!(
            text(&own.call("echo", &json!({"message": "own"})).await),
            "own"
        );
    }
}

#[tokio::test]
async fn a_key_that_is_taken_away() {
    let guarded = Guarded::start().await;
    let (mut alice, mut bob) = (guarded.session(0).await, guarded.session(1).await);
    fs::write(guarded.folder.path().join("keys.txt"), &guarded.lines[1]).unwrap();
    let refusal = wait::until("alice is refused", async || {
        let reply = alice.call("echo", &json!({"message": "x"})).await;
        (reply.status != 200).then_some(reply)
    })
    .await;
    unauthorized(&refusal);
    assert_eq!(text(&bob.call("echo", &json!({"message": "b"})).await), "b");
}

/// A file that became unreadable locks nobody out and lets nobody in.
#[tokio::test]
async fn a_keys_file_that_is_broken() {
    let guarded = Guarded::start().await;
    let file = guarded.folder.path().join("keys.txt");
    fs::write(&file, "alice not-a-digest\n").unwrap();
    wait::until("the reload is tried", async || {
        guarded
            .server
            .process
            .log()
            .contains("not reloaded")
            .then_some(())
    })
    .await;
    let mut alice = guarded.session(0).await;
    assert_eq!(
        text(&alice.call("echo", &json!({"message": "a"})).await),
        "a"
    );
    unauthorized(&send(guarded.server.listen, &initialize()).await);
}

async fn behind(proxies: &str) -> Server {
    let proxies = format!("--trusted-proxies={proxies}");
    Server::local(&["--demo=echo", "--auth=trusted-header", &proxies]).await
}

#[tokio::test]
async fn a_name_from_somebody_who_is_no_proxy() {
    let server = behind("10.0.0.0/8").await;
    let ask = initialize().header("x-forwarded-user", "alice");
    unauthorized(&send(server.listen, &ask).await);
    let claims = ask.header("x-forwarded-for", "10.1.2.3");
    unauthorized(&send(server.listen, &claims).await);
}

#[tokio::test]
async fn a_name_from_a_proxy() {
    let server = behind("127.0.0.0/8").await;
    let mut alice = Session::open_as(server.listen, &[("x-forwarded-user", "alice")]).await;
    assert_eq!(
        text(&alice.call("echo", &json!({"message": "a"})).await),
        "a"
    );
    for ask in [
        initialize(),
        initialize().header("x-forwarded-user", ""),
        initialize()
            .header("x-forwarded-user", "bob")
            .also("x-forwarded-user", "alice"),
    ] {
        unauthorized(&send(server.listen, &ask).await);
    }
    let mut bob = Session::open_as(server.listen, &[("x-forwarded-user", "bob")]).await;
    bob.id.clone_from(&alice.id);
    let reply = bob.call("echo", &json!({"message": "b"})).await;
    refused(
        &reply,
        &Refusal(404, bob.last(), -32001, "session_not_found"),
    );
}
