//! What the tests of upstreams share, and tests of the upstream as a whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use hexagram_core::{Capabilities, Era, ProtocolVersion};
use serde_json::{Value, json};

use super::era::Spoken;
use super::http::tests::{Request, Server, reply};
use super::{ChildLimit, Incoming, ServerInfo, Upstream, UpstreamError, UpstreamLimits};
use crate::facts::ClientFacts;

/// No wait in a test is longer; one that succeeds is far shorter.
const DEADLINE: Duration = Duration::from_secs(20);

/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(10);

/// The outcome of what must happen without a push from the test.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what)
        .await
        .expect("it never happened")
}

pub(super) async fn next(incoming: &mut Incoming) -> Option<Result<Value, UpstreamError>> {
    let message = soon(incoming.next()).await?;
    Some(message.map(|message| serde_json::from_slice(&message).expect("JSON")))
}

pub(super) async fn message(incoming: &mut Incoming) -> Value {
    next(incoming)
        .await
        .expect("the stream ended")
        .expect("a message")
}

pub(super) fn limits() -> UpstreamLimits {
    UpstreamLimits {
        connect: DEADLINE,
        handshake: DEADLINE,
        silence: DEADLINE,
        max_message: 1 << 20,
    }
}

pub(crate) fn upstream(target: &str) -> Arc<Upstream> {
    upstream_called("up", target)
}

pub(crate) fn upstream_called(name: &str, target: &str) -> Arc<Upstream> {
    made(name, target, limits())
}

pub(super) fn upstream_with(target: &str, limits: UpstreamLimits) -> Arc<Upstream> {
    made("up", target, limits)
}

fn made(name: &str, target: &str, limits: UpstreamLimits) -> Arc<Upstream> {
    let spec = format!("{name}={target}").parse().expect("a spec");
    let upstream = Upstream::from_spec(spec, limits, &ChildLimit::new(4));
    Arc::new(upstream.expect("an upstream"))
}

pub(super) fn facts() -> ClientFacts {
    ClientFacts {
        version: ProtocolVersion::LATEST_LEGACY,
        capabilities: Capabilities::default(),
        name: "test".to_owned(),
        software_version: "1".to_owned(),
    }
}

fn hasty() -> UpstreamLimits {
    UpstreamLimits {
        handshake: Duration::from_millis(200),
        ..limits()
    }
}

#[tokio::test]
async fn a_hanging_upstream_is_asked_once_for_all() {
    let server = Server::start(|_| Vec::new()).await;
    let upstream = upstream_with(&server.url(), hasty());
    let gave_up = tokio::time::timeout(Duration::from_millis(1), upstream.info()).await;
    assert!(gave_up.is_err());
    let (one, other) = soon(async { tokio::join!(upstream.info(), upstream.info()) }).await;
    let third = soon(upstream.info()).await;
    for told in [one, other, third] {
        let error = told.expect_err("it hangs");
        assert!(error.to_string().contains("handshake"), "{error}");
        assert!(!error.may_have_acted());
    }
    // server/discover and initialize, once.
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_hanging_child_is_ended() {
    let children = ChildLimit::new(1);
    let spec = "up=sleep 60".parse().expect("a spec");
    let upstream = Upstream::from_spec(spec, hasty(), &children).expect("an upstream");
    let error = soon(Arc::new(upstream).info()).await.expect_err("it hangs");
    assert!(error.to_string().contains("handshake"), "{error}");
    assert!(children.ended(DEADLINE).await);
}

/// Opens sessions until one fails for this reason.
async fn fails(upstream: &Upstream, why: &str) {
    let open = async {
        loop {
            match upstream.open(&facts()).await {
                Err(error) if error.to_string().contains(why) => return,
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
    };
    soon(open).await;
}

#[tokio::test]
async fn a_command_that_ends_at_once_is_left_alone_for_a_while() {
    let upstream = upstream("exit 1");
    fails(&upstream, "times in a row").await;
    assert_eq!(upstream.health().reachable, Some(false));
}

#[tokio::test]
async fn a_command_that_recovers_is_used_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let cure = folder.path().join("cure");
    let result = r#"{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{}}"#;
    let answer = format!(r#"{{"jsonrpc":"2.0","id":"0","result":{result}}}"#);
    let ill = format!("[ -e {} ] || exit 1", cure.display());
    let upstream = upstream(&format!(
        "{ill}; read line; echo '{answer}'; cat >/dev/null"
    ));
    fails(&upstream, "times in a row").await;
    std::fs::write(cure, "").expect("written");
    let open = async {
        loop {
            match upstream.open(&facts()).await {
                Ok(connection) => return connection,
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    };
    soon(open).await.close().await;
    assert_eq!(upstream.health().reachable, Some(true));
}

/// As if the upstream had just been found to be a legacy one.
pub(crate) fn turn_legacy(upstream: &Upstream) {
    upstream.spoken.send_replace(Spoken::Legacy);
}

/// As if the upstream had just introduced itself, and spoke this era alone.
pub(crate) fn introduce(upstream: &Upstream, era: Era) {
    let spoken = match era {
        Era::Legacy => Spoken::Legacy,
        Era::Modern => Spoken::Modern,
    };
    let info = ServerInfo::from_initialize(&json!({"capabilities": {}}));
    upstream.describe(upstream.told_era(), spoken, info);
}

/// What a legacy server with tools and sessions says before it is asked to work.
pub(crate) fn greeting(request: &Request) -> Vec<u8> {
    if request.body.contains("\"initialize\"") {
        let result = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "s", "version": "1"},
            "instructions": "Be kind.",
        });
        let response = json!({"jsonrpc": "2.0", "id": "0", "result": result}).to_string();
        let headers = "Content-Type: application/json\r\nMcp-Session-Id: s\r\n";
        return reply("200 OK", headers, &response);
    }
    reply("202 Accepted", "", "")
}

/// As [`greeting`], and lists two tools.
fn with_tools(request: &Request) -> Vec<u8> {
    let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
    if body["method"] != "tools/list" {
        return greeting(request);
    }
    let result = json!({"tools": [{"name": "a"}, {"name": "b"}]});
    let response = json!({"jsonrpc": "2.0", "id": body["id"], "result": result}).to_string();
    reply("200 OK", "Content-Type: application/json\r\n", &response)
}

#[tokio::test]
async fn a_visit_has_the_tools_counted() {
    let server = Server::start(with_tools).await;
    for is_known in [false, true] {
        let upstream = upstream(&server.url());
        if is_known {
            soon(upstream.info()).await.expect("it answers");
        }
        assert!(upstream.is_new());
        soon(upstream.visit(false)).await.expect("it answers");
        let counted = async {
            loop {
                match upstream.health().tools {
                    Some(tools) => return tools.count,
                    None => tokio::time::sleep(PAUSE).await,
                }
            }
        };
        assert_eq!(soon(counted).await, 2);
        assert!(!upstream.is_new());
    }
}

#[tokio::test]
async fn one_whose_tools_cannot_be_counted_is_no_news_for_ever() {
    // It lists no tools.
    let server = Server::start(greeting).await;
    let upstream = upstream(&server.url());
    let first = soon(upstream.first_visit()).await.expect("it was unknown");
    assert_eq!(first.0, "up");
    assert!(first.1.is_ok());
    assert!(upstream.health().tools.is_none());
    assert!(!upstream.is_new());
    assert!(soon(upstream.first_visit()).await.is_none());
}

#[tokio::test]
async fn one_that_was_down_is_asked_again() {
    let server = Server::start(greeting).await;
    let upstream = upstream(&server.url());
    soon(upstream.info()).await.expect("it answers");
    upstream.failed(&UpstreamError::Unreachable("refused".to_owned()));
    soon(upstream.visit(false)).await.expect("it is known");
    assert_eq!(upstream.health().reachable, Some(false), "nobody asked");
    assert!(upstream.is_to_be_revisited(Duration::ZERO));
    soon(upstream.visit(true)).await.expect("it answers");
    assert_eq!(upstream.health().reachable, Some(true));
}

/// Answers with this status until it is mended.
async fn refusing(line: &'static str, is_mended: &Arc<AtomicBool>) -> Server {
    let is_mended = Arc::clone(is_mended);
    let answer = move |request: &Request| match is_mended.load(Ordering::Relaxed) {
        true => greeting(request),
        false => reply(line, "", "words"),
    };
    Server::start(answer).await
}

#[tokio::test]
async fn one_that_refuses_to_say_what_it_is_is_down_and_asked_again() {
    for line in ["404 Not Found", "401 Unauthorized"] {
        let is_mended = Arc::default();
        let server = refusing(line, &is_mended).await;
        let upstream = upstream(&server.url());
        soon(upstream.visit(false)).await.expect_err("it refuses");
        let health = upstream.health();
        assert_eq!(health.reachable, Some(false), "{line}");
        let why = health.last_error.expect("it failed").error;
        assert!(why.ends_with("words"), "{why}");
        assert!(upstream.is_to_be_revisited(Duration::ZERO));
        is_mended.store(true, Ordering::Relaxed);
        // As if that was long ago.
        *upstream.probing.lock().await = None;
        soon(upstream.visit(true)).await.expect("it answers");
        assert_eq!(upstream.health().reachable, Some(true), "{line}");
    }
}

#[tokio::test]
async fn one_that_has_said_what_it_is_may_refuse() {
    let server = Server::start(greeting).await;
    let upstream = upstream(&server.url());
    soon(upstream.info()).await.expect("it answers");
    let refused = UpstreamError::Refused {
        status: 404,
        code: None,
        detail: String::new(),
    };
    upstream.failed(&refused);
    upstream.failed_probe(&refused);
    assert_eq!(upstream.health().reachable, Some(true));
}

#[tokio::test]
async fn a_command_that_was_ready_once_is_not_asked_again() {
    let result = r#"{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{}}"#;
    let answer = format!(r#"{{"jsonrpc":"2.0","id":"0","result":{result}}}"#);
    let upstream = upstream(&format!("read line; echo '{answer}'; cat >/dev/null"));
    let down = UpstreamError::Unreachable("it ended".to_owned());
    upstream.failed(&down);
    assert!(upstream.is_to_be_revisited(Duration::ZERO), "what is it?");
    soon(upstream.visit(true)).await.expect("it answers");
    assert_eq!(upstream.health().reachable, Some(true));
    upstream.failed(&down);
    assert!(!upstream.is_to_be_revisited(Duration::ZERO));
}

#[tokio::test]
async fn an_upstream_describes_itself_once() {
    let server = Server::start(greeting).await;
    let upstream = upstream(&server.url());
    let (one, other) = soon(async { tokio::join!(upstream.info(), upstream.info()) }).await;
    let info = one.expect("it answers");
    assert_eq!(info, other.expect("it answers"));
    assert_eq!(info.server_info["name"], "s");
    assert_eq!(info.instructions.as_deref(), Some("Be kind."));
    let asked = server.seen();
    let asked = asked.iter().filter(|request| request.method == "POST");
    // server/discover, initialize and notifications/initialized, once.
    assert_eq!(asked.count(), 3);
}
