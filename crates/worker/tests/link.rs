//! A worker as its edges see it: greeted, asked and paid over a real gRPC link.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod edge;

use hexagram_mcp::Problem;
use hexagram_proto::link::worker_message::Kind;
use hexagram_proto::link::{ExchangeKind, Open};
use hexagram_proto::{CHUNK_BYTES, INITIAL_WINDOW};
use hexagram_worker::{NativeHandler, NativeRequest, ServerInfo, Upstream, close_stream, handler};
use rmcp::model::{CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::json;
use std::sync::Arc;

use edge::{Edge, answer, worker};

/// Panics when it is told to, and makes answers of any length.
struct Odd;

impl NativeHandler for Odd {
    fn info(&self) -> ServerInfo {
        ServerInfo {
            capabilities: json!({"tools": {}}),
            server_info: json!({"name": "odd", "version": "1"}),
            instructions: None,
        }
    }

    fn handle(&self, request: &NativeRequest<'_>) -> Result<Vec<u8>, Problem> {
        match request.method {
            "panic" => panic!("told to"),
            "long" => Ok(format!(r#"{{"text":"{}"}}"#, "x".repeat(LONG)).into_bytes()),
            _ => Ok(b"{}".to_vec()),
        }
    }
}

/// Far more than a window.
const LONG: usize = 10 * INITIAL_WINDOW as usize;

/// The same as an rmcp handler.
struct OddHandler;

impl ServerHandler for OddHandler {
    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        assert_ne!(request.name, "panic", "told to");
        if request.name == "polled" {
            close_stream(&context).await.unwrap();
        }
        if request.name == "slow" {
            std::future::pending::<()>().await;
        }
        Ok(CallToolResult::success(vec![ContentBlock::text("fine")]).into())
    }
}

fn native() -> Arc<Upstream> {
    Arc::new(Upstream::from_native("odd".parse().unwrap(), Arc::new(Odd)))
}

fn rmcp() -> Arc<Upstream> {
    let odd = handler(|| OddHandler);
    Arc::new(Upstream::from_handler("odd".parse().unwrap(), odd))
}

fn call(tool: &str) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool}}).to_string()
}

fn request(method: &str) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": method}).to_string()
}

#[tokio::test]
async fn a_stranger_is_refused_with_the_reason() {
    let worker = worker(native());
    for (change, reason) in [
        (edge::Change::Cluster, "belongs to cluster"),
        (edge::Change::Shards, "has 32 shards"),
        (edge::Change::Version, "no common link version"),
        (edge::Change::Keys, "give both the same --keys file"),
        (edge::Change::Map, "give both the same --peer list"),
    ] {
        let refused = Edge::connect_as(&worker, change).await.err().unwrap();
        assert!(refused.contains(reason), "{refused}");
    }
    Edge::connect(&worker).await.session().await;
}

#[tokio::test]
async fn a_native_panic_costs_its_exchange_only() {
    let mut edge = Edge::connect(&worker(native())).await;
    let session = edge.session().await;
    let panicked = answer(edge.ask(&session, &request("panic")).await);
    assert_eq!(panicked["error"]["data"]["reason"], "internal");
    assert_eq!(panicked["id"], 1);
    let next = answer(edge.ask(&session, &request("fine")).await);
    assert_eq!(next["result"], json!({}));
}

#[tokio::test]
async fn a_handlers_panic_costs_its_exchange_only() {
    let mut edge = Edge::connect(&worker(rmcp())).await;
    let session = edge.session().await;
    let panicked = answer(edge.ask(&session, &call("panic")).await);
    assert_eq!(panicked["error"]["code"], -32603);
    assert_eq!(panicked["id"], 1);
    let next = answer(edge.ask(&session, &call("fine")).await);
    assert_eq!(next["result"]["content"][0]["text"], "fine");
}

#[tokio::test]
async fn another_epoch_is_misdirected() {
    let mut edge = Edge::connect(&worker(native())).await;
    let session = edge.session().await;
    let stale = Open {
        epoch: session.epoch + 1,
        ..edge.open(&session, &request("fine"))
    };
    match edge.send(stale).await {
        Kind::Misdirected(misdirected) => assert_eq!(misdirected.epoch, session.epoch),
        other => panic!("{other:?}"),
    }
}

/// An owner that was lost may have begun with what is sent again.
#[tokio::test]
async fn what_is_sent_again_reads_but_calls_no_tool() {
    let mut edge = Edge::connect(&worker(native())).await;
    let session = edge.session().await;
    let again = |body: &str| Open {
        attempt: 2,
        ..edge.open(&session, body)
    };
    let (called, listed) = (again(&call("fine")), again(&request("tools/list")));
    let called = answer(edge.send(called).await);
    assert_eq!(called["error"]["data"]["reason"], "outcome_unknown");
    assert_eq!(called["id"], 1);
    assert!(answer(edge.send(listed).await).get("result").is_some());
}

#[tokio::test]
async fn a_deleted_session_never_answers_again() {
    let mut edge = Edge::connect(&worker(native())).await;
    let session = edge.session().await;
    let delete = Open {
        kind: ExchangeKind::Delete.into(),
        ..edge.open(&session, "")
    };
    match edge.send(delete).await {
        Kind::End(end) => assert_eq!(end.head.unwrap().status, 200),
        other => panic!("{other:?}"),
    }
    let after = answer(edge.ask(&session, &request("fine")).await);
    assert_eq!(after["error"]["data"]["reason"], "session_not_found");
}

#[tokio::test]
async fn a_long_answer_keeps_to_its_credit_and_stalls_nobody() {
    let mut edge = Edge::connect(&worker(native())).await;
    let session = edge.session().await;
    let long = edge.open(&session, &request("long"));
    let number = edge.post(long).await;
    let mut received = edge.unpaid(number).await;
    assert!(
        received <= INITIAL_WINDOW as usize + CHUNK_BYTES,
        "{received} bytes unpaid"
    );
    let neighbour = answer(edge.ask(&session, &request("fine")).await);
    assert_eq!(neighbour["result"], json!({}));
    received += edge.paid(number).await;
    assert!(received > LONG);
}

fn get(edge: &Edge, session: &edge::Session) -> Open {
    Open {
        kind: ExchangeKind::Stream.into(),
        ..edge.open(session, "")
    }
}

#[tokio::test]
async fn a_later_standing_stream_takes_the_earlier_ones_place() {
    let mut edge = Edge::connect(&worker(rmcp())).await;
    let session = edge.session().await;
    let first = get(&edge, &session);
    let first = edge.post(first).await;
    let second = get(&edge, &session);
    edge.post(second).await;
    edge.ended(first).await;
}

/// The edge sends until it has learnt of the drain; none of it is refused or lost.
#[tokio::test]
async fn what_an_edge_sends_before_it_ceases_is_answered() {
    let worker = worker(rmcp());
    let mut edge = Edge::connect(&worker).await;
    let session = edge.session().await;
    worker.shutdown.cancel();
    edge.told_to_leave().await;
    let crossing = answer(edge.ask(&session, &call("fine")).await);
    assert_eq!(crossing["result"]["content"][0]["text"], "fine");
    edge.cease();
}

#[tokio::test]
async fn a_draining_worker_ends_streams_and_lets_through_what_belongs_to_calls() {
    let worker = worker(rmcp());
    let mut edge = Edge::connect(&worker).await;
    let session = edge.session().await;
    let slow = edge.open(&session, &call("slow"));
    let slow = edge.post(slow).await;
    let stream = get(&edge, &session);
    let Kind::Start(stream) = edge.send(stream).await else {
        panic!("no stream");
    };
    worker.shutdown.cancel();
    edge.told_to_leave().await;
    edge.cease();
    edge.ended(stream.exchange).await;
    let refused = answer(edge.ask(&session, &call("fine")).await);
    assert_eq!(refused["error"]["data"]["reason"], "draining");
    let cancel = json!({"requestId": 1, "reason": "enough"});
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancel});
    match edge.ask(&session, &cancel.to_string()).await {
        Kind::End(end) => assert_eq!(end.head.unwrap().status, 202),
        other => panic!("{other:?}"),
    }
    edge.ended(slow).await;
}

#[tokio::test]
async fn requests_and_refusals_are_counted() {
    let worker = worker(rmcp());
    let mut edge = Edge::connect(&worker).await;
    let session = edge.session().await;
    answer(edge.ask(&session, &call("fine")).await);
    let stale = Open {
        epoch: session.epoch + 1,
        ..edge.open(&session, &call("fine"))
    };
    edge.send(stale).await;
    let delete = Open {
        kind: ExchangeKind::Delete.into(),
        ..edge.open(&session, "")
    };
    edge.send(delete).await;
    answer(edge.ask(&session, &call("fine")).await);
    let text = worker.metrics.encode();
    for line in [
        "hexagram_upstream_requests_total{upstream=\"odd\"} 1",
        "hexagram_upstream_in_flight{upstream=\"odd\"} 0",
        "hexagram_upstream_seconds_count{upstream=\"odd\"} 1",
        "hexagram_worker_refusals_total{reason=\"misdirected\"} 1",
        "hexagram_worker_refusals_total{reason=\"session_not_found\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
}

#[tokio::test]
async fn a_handler_lets_its_client_go_and_the_answer_waits() {
    let worker = worker(rmcp());
    let mut edge = Edge::connect(&worker).await;
    let session = edge.session().await;
    let open = edge.open(&session, &call("polled"));
    let number = edge.post(open).await;
    edge.ended(number).await;
    // It stands before the first message of its first stream.
    let position = format!("c{}.0.0", session.epoch);
    let rest = Open {
        kind: ExchangeKind::Stream.into(),
        last_event_id: position.clone(),
        ..edge.open(&session, "")
    };
    let number = match edge.send(rest).await {
        Kind::Start(start) => {
            assert_eq!(start.event_id, position);
            assert!(start.retry_ms > 0);
            start.exchange
        }
        other => panic!("{other:?}"),
    };
    let said = edge.last_event(number).await;
    assert_eq!(said.event_id, format!("c{}.0.1", session.epoch));
    let message: serde_json::Value = serde_json::from_slice(&said.data).unwrap();
    assert_eq!(message["result"]["content"][0]["text"], "fine");
}

#[tokio::test]
async fn a_draining_worker_lets_its_listeners_go_at_an_id() {
    let worker = worker(rmcp());
    let mut edge = Edge::connect(&worker).await;
    let session = edge.session().await;
    let listen = Open {
        kind: ExchangeKind::Stream.into(),
        ..edge.open(&session, "")
    };
    let Kind::Start(start) = edge.send(listen).await else {
        panic!("no stream");
    };
    assert!(!start.event_id.is_empty());
    worker.shutdown.cancel();
    edge.told_to_leave().await;
    edge.cease();
    let last = edge.last_position(start.exchange).await;
    assert_eq!(last, start.event_id);
}
