//! Requests at upstreams that are not what they were a moment ago.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod again;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::Parser;
use futures_util::StreamExt;
use hexagram_core::{
    Capabilities, ClientId, Epoch, Incarnation, KeyRing, PrincipalId, ProtocolVersion, Sealer,
    SessionClaims, ShardCount,
};
use hexagram_proto::link::worker_message::Kind;
use hexagram_proto::{INITIAL_WINDOW, outbox};
use hexagram_runtime::drain::DrainArgs;
use hexagram_runtime::metrics::Metrics;
use http::HeaderMap;
use serde_json::{Value, json};

use super::*;
use crate::WorkerContext;
use crate::changes::Changes;
use crate::dispatch;
use crate::metrics::WorkerMetrics;
use crate::upstream::fake::{Request, Server, reply, soon, turn_legacy, upstream, upstream_called};

#[derive(Parser)]
struct Drain {
    #[command(flatten)]
    args: DrainArgs,
}

/// A worker of these upstreams with one shard.
pub(crate) fn host(upstreams: Vec<Arc<Upstream>>) -> Arc<Host> {
    let shards = ShardCount::default();
    let metrics = WorkerMetrics::register(&Metrics::new());
    let federation = Federation::new(upstreams, &metrics).unwrap();
    let context = WorkerContext {
        cluster: "test".to_owned(),
        name: "worker-0".parse().unwrap(),
        incarnation: Incarnation::new(1).unwrap(),
        shards,
        owned: vec![(shards.shard(0).unwrap(), Epoch::new(7).unwrap())],
        map_fingerprint: None,
        membership: None,
        kept: crate::Kept::new(),
        sealer: Arc::new(Sealer::new(&KeyRing::generate(1, [7; 32]), "test")),
        changes: Changes::new(),
        metrics,
        session_idle: Duration::from_secs(60),
        drain: Drain::parse_from(["test"]).args,
        store: None,
        session_lifetime: Duration::from_secs(3600),
        link_version: hexagram_proto::LINK_VERSION_MAX,
    };
    Arc::new(Host::new(context, federation))
}

/// A legacy client's session.
struct Client {
    host: Arc<Host>,
    claims: SessionClaims,
}

impl Client {
    fn of(upstreams: Vec<Arc<Upstream>>) -> Self {
        let host = host(upstreams);
        let claims = SessionClaims {
            client: ClientId::from_u128(1),
            principal: PrincipalId::from_u128(2),
            key: host.shard(0).unwrap().new_session_key(),
            created: 0,
            version: ProtocolVersion::LATEST_LEGACY,
            capabilities: Capabilities::default(),
            client_name: "test".to_owned(),
            client_version: "1".to_owned(),
            has_record: false,
        };
        Self { host, claims }
    }

    async fn ask(&self, method: &str, params: &Value) -> Value {
        self.send(method, params, false).await
    }

    /// Asks what a lost worker may have been asked already.
    async fn ask_again(&self, method: &str, params: &Value) -> Value {
        self.send(method, params, true).await
    }

    async fn send(&self, method: &str, params: &Value, repeated: bool) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let shard = self.host.shard(0).unwrap();
        let call = Call {
            opening: shard.openings.begin(),
            shard,
            client: self.claims.client,
            principal: self.claims.principal,
            version: self.claims.version,
            claims: Some(self.claims.clone()),
            body: request.to_string().into(),
            params: HeaderMap::new(),
            reattached: false,
            once: false,
            repeated,
            batched: false,
        };
        let (outbox, mut drained) = outbox();
        let refusals = self.host.metrics.refusals.clone();
        let mut reply = Reply::new(1, INITIAL_WINDOW, outbox, refusals);
        reply.set_id("1");
        soon(dispatch::request(Arc::clone(&self.host), call, reply)).await;
        let frame = soon(drained.next()).await.unwrap();
        match frame.into_iter().next_back().unwrap().kind {
            Some(Kind::Event(event)) => serde_json::from_slice(&event.data).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

fn id(request: &Request) -> Value {
    let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
    body["id"].clone()
}

fn result(request: &Request, result: &Value) -> Vec<u8> {
    let response = json!({"jsonrpc": "2.0", "id": id(request), "result": result});
    let headers = "Content-Type: application/json\r\n";
    reply("200 OK", headers, &response.to_string())
}

fn error(request: &Request, code: i64) -> Vec<u8> {
    let error = json!({"code": code, "message": "no"});
    let response = json!({"jsonrpc": "2.0", "id": id(request), "error": error});
    let headers = "Content-Type: application/json\r\n";
    reply("400 Bad Request", headers, &response.to_string())
}

fn method(request: &Request) -> String {
    request
        .headers
        .get("mcp-method")
        .cloned()
        .unwrap_or_default()
}

/// What a modern server answers; `work` does for all but the introduction.
fn modern(request: &Request, work: impl FnOnce(&str) -> Vec<u8>) -> Vec<u8> {
    match method(request).as_str() {
        "server/discover" => {
            let versions = json!(["2026-07-28"]);
            let capabilities = json!({"tools": {}});
            result(
                request,
                &json!({"supportedVersions": versions, "capabilities": capabilities}),
            )
        }
        // No other message of its era comes without a method in its head.
        "" => error(request, -32022),
        method => work(method),
    }
}

fn tools(header: &str) -> Value {
    let region = json!({"type": "string", "x-mcp-header": header});
    let schema = json!({"type": "object", "properties": {"region": region}});
    json!({"tools": [{"name": "act", "inputSchema": schema}]})
}

fn act() -> Value {
    json!({"name": "act", "arguments": {"region": "north"}})
}

#[tokio::test]
async fn what_is_begun_in_one_era_is_sent_in_it() {
    let turning: Arc<OnceLock<Arc<Upstream>>> = Arc::default();
    let server = Server::start({
        let turning = Arc::clone(&turning);
        move |request: &Request| {
            modern(request, |method| {
                if method == "tools/list" {
                    turn_legacy(turning.get().unwrap());
                }
                result(request, &tools("Region"))
            })
        }
    })
    .await;
    let upstream = upstream(&server.url());
    turning.set(Arc::clone(&upstream)).ok().unwrap();
    Client::of(vec![upstream]).ask("tools/call", &act()).await;
    let seen = server.seen();
    let call = seen.iter().find(|seen| method(seen) == "tools/call");
    let call: Value = serde_json::from_str(&call.unwrap().body).unwrap();
    let version = &call["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"];
    assert_eq!(version, "2026-07-28", "{call}");
}

#[tokio::test]
async fn a_tool_that_has_changed_is_called_once_more() {
    let calls = AtomicUsize::new(0);
    let server = Server::start(move |request: &Request| {
        modern(request, |method| {
            let header = match calls.load(Ordering::Relaxed) {
                0 => "region",
                _ => "area",
            };
            if method == "tools/list" {
                return result(request, &tools(header));
            }
            let mirrored = format!("mcp-param-{header}");
            if !request.headers.contains_key(&mirrored) {
                return error(request, -32020);
            }
            calls.fetch_add(1, Ordering::Relaxed);
            result(request, &json!({}))
        })
    })
    .await;
    let client = Client::of(vec![upstream(&server.url())]);
    for _ in 0..2 {
        let answer = client.ask("tools/call", &act()).await;
        assert!(answer.get("result").is_some(), "{answer}");
    }
    let seen = server.seen();
    let lists = seen.iter().filter(|seen| method(seen) == "tools/list");
    assert_eq!(lists.count(), 2);
}

#[tokio::test]
async fn a_merged_list_finds_another_server_out() {
    let turned =
        Server::start(move |request: &Request| modern(request, |_| error(request, -32022))).await;
    let other =
        Server::start(|request: &Request| modern(request, |_| result(request, &tools("Region"))))
            .await;
    let upstreams = [("a", &turned), ("b", &other)];
    let upstreams = upstreams.map(|(name, server)| upstream_called(name, &server.url()));
    let client = Client::of(upstreams.into());
    for _ in 0..2 {
        let list = client.ask("tools/list", &json!({})).await;
        assert_eq!(list["result"]["tools"][0]["name"], "b__act", "{list}");
    }
    let asked = |server: &Server| {
        let seen = server.seen();
        let seen = seen.iter().filter(|seen| method(seen) == "server/discover");
        seen.count()
    };
    assert_eq!((asked(&turned), asked(&other)), (2, 1));
}
