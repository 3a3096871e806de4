//! What an edge sends again because its worker was lost, as the new owner sees it:
//! over a real link, at handlers that count what they run.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "the edge is shared with other tests")]

mod edge;

use std::sync::Arc;

use hexagram_core::ProtocolVersion;
use hexagram_mcp::Problem;
use hexagram_proto::link::Open;
use hexagram_worker::{NativeHandler, NativeRequest, ServerInfo, Upstream, handler};
use parking_lot::Mutex;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ListToolsResult,
    PaginatedRequestParams,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::{Value, json};

use edge::{Edge, Session, answer, worker};

const TOOLS: [&str; 3] = ["read", "same", "act"];

/// Names of the tools that ran.
type Ran = Arc<Mutex<Vec<String>>>;

fn tools() -> Value {
    let annotations = [
        json!({"readOnlyHint": true}),
        json!({"idempotentHint": true}),
        json!({"readOnlyHint": false}),
    ];
    let schema = json!({"type": "object"});
    let tools = TOOLS.into_iter().zip(annotations).map(|(name, annotations)| {
        json!({"name": name, "annotations": annotations, "inputSchema": schema})
    });
    json!({"tools": tools.collect::<Vec<_>>()})
}

struct Native(Ran);

impl NativeHandler for Native {
    fn info(&self) -> ServerInfo {
        ServerInfo {
            capabilities: json!({"tools": {}}),
            server_info: json!({"name": "native", "version": "1"}),
            instructions: None,
        }
    }

    fn handle(&self, request: &NativeRequest<'_>) -> Result<Vec<u8>, Problem> {
        if request.method == "tools/list" {
            return Ok(tools().to_string().into_bytes());
        }
        let params: Value = serde_json::from_slice(request.params.unwrap()).unwrap();
        let name = params["name"].as_str().unwrap().to_owned();
        self.0.lock().push(name);
        Ok(br#"{"content":[]}"#.to_vec())
    }
}

struct Handler(Ran);

impl ServerHandler for Handler {
    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(serde_json::from_value(tools()).unwrap())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.0.lock().push(request.name.into_owned());
        Ok(CallToolResult::success(vec![ContentBlock::text("done")]).into())
    }
}

fn native(ran: &Ran) -> Arc<Upstream> {
    let handler = Arc::new(Native(Arc::clone(ran)));
    Arc::new(Upstream::from_native("native".parse().unwrap(), handler))
}

fn rmcp(ran: &Ran) -> Arc<Upstream> {
    let ran = Arc::clone(ran);
    let factory = handler(move || Handler(Arc::clone(&ran)));
    Arc::new(Upstream::from_handler("rmcp".parse().unwrap(), factory))
}

fn call(id: usize, tool: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool}})
}

fn again(edge: &Edge, session: &Session, body: &Value) -> Open {
    Open {
        attempt: 2,
        ..edge.open(session, &body.to_string())
    }
}

/// The reason of a refusal, if it is one.
fn refusal(answer: &Value) -> Option<&str> {
    answer["error"]["data"]["reason"].as_str()
}

async fn only_declared_tools_run(upstream: impl FnOnce(&Ran) -> Arc<Upstream>) {
    let ran = Ran::default();
    let mut edge = Edge::connect(&worker(upstream(&ran))).await;
    let session = edge.session().await;
    for (id, tool) in TOOLS.into_iter().enumerate() {
        let open = again(&edge, &session, &call(id, tool));
        let answer = answer(edge.send(open).await);
        let expected = (tool == "act").then_some("outcome_unknown");
        assert_eq!(refusal(&answer), expected, "{answer}");
        assert_eq!(answer["id"], id, "{answer}");
    }
    assert_eq!(*ran.lock(), ["read", "same"]);
    // The first time it may run whatever it is.
    let first = answer(edge.ask(&session, &call(9, "act").to_string()).await);
    assert_eq!(refusal(&first), None, "{first}");
}

#[tokio::test]
async fn a_native_handlers_tools_run_again_as_they_declare() {
    only_declared_tools_run(native).await;
}

#[tokio::test]
async fn a_handlers_tools_run_again_as_they_declare() {
    only_declared_tools_run(rmcp).await;
}

#[tokio::test]
async fn each_message_of_a_batch_is_decided_on_its_own() {
    let ran = Ran::default();
    let mut edge = Edge::connect(&worker(rmcp(&ran))).await;
    let session = edge.session().await;
    let list = json!({"jsonrpc": "2.0", "id": 3, "method": "tools/list"});
    let calls = TOOLS.into_iter().enumerate();
    let batch: Vec<_> = calls
        .map(|(id, tool)| call(id, tool))
        .chain([list])
        .collect();
    let open = Open {
        version: u32::from(ProtocolVersion::V2025_03_26.code()),
        ..again(&edge, &session, &json!(batch))
    };
    let answers = answer(edge.send(open).await);
    let mut answers = answers.as_array().unwrap().clone();
    answers.sort_by_key(|answer| answer["id"].as_u64());
    let reasons: Vec<_> = answers.iter().map(refusal).collect();
    assert_eq!(reasons, [None, None, Some("outcome_unknown"), None]);
    let mut ran = ran.lock().clone();
    ran.sort();
    assert_eq!(ran, ["read", "same"]);
}

/// Where the session is lost with its worker, only calls are in doubt.
#[tokio::test]
async fn a_lost_session_says_what_is_not_known() {
    let ran = Ran::default();
    let mut edge = Edge::connect(&worker(native(&ran))).await;
    let mut lost = edge.session().await;
    lost.claims.key.epoch = hexagram_core::Epoch::FIRST;
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    for (body, expected) in [
        (call(1, "act"), "outcome_unknown"),
        (list.clone(), "session_not_found"),
        (json!([list.clone(), call(2, "act")]), "outcome_unknown"),
        (json!([list]), "session_not_found"),
    ] {
        let open = again(&edge, &lost, &body);
        let answer = answer(edge.send(open).await);
        assert_eq!(refusal(&answer), Some(expected), "{body}");
    }
    assert!(ran.lock().is_empty());
}
