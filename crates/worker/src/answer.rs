//! What a worker answers itself: the handshakes, ping, and native handlers.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use hexagram_core::{Era, ProtocolVersion, SessionClaims};
use hexagram_mcp::client::InitializeParams;
use hexagram_mcp::envelope::Envelope;
use hexagram_mcp::error::Problem;
use hexagram_proto::link::Head;
use hexagram_runtime::random;
use serde::Serialize;
use serde_json::{Value, json};

use crate::across::modernized;
use crate::federation::Federation;
use crate::forward::outcome_unknown;
use crate::host::{Call, Host};
use crate::merged::PATIENCE;
use crate::reply::{Reply, Run, response};
use crate::upstream::{
    NativeHandler, NativeRequest, ServerInfo, Upstream, UpstreamError, declares,
};

/// How long `initialize` waits for the only upstream to describe itself.
const ONLY_PATIENCE: Duration = Duration::from_secs(30);

/// Answers with an empty result.
pub(crate) fn empty(reply: Reply) -> Option<Run> {
    let message = response(reply.id(), b"{}");
    reply.answer(message, None)
}

/// Runs a native handler here and now.
pub(crate) fn native(
    handler: &dyn NativeHandler,
    call: &Call,
    envelope: &Envelope<'_>,
    reply: Reply,
) -> Option<Run> {
    let method = envelope.method.as_deref().unwrap_or_default();
    if call.repeated && method == "tools/call" && !native_may_run_twice(handler, call, envelope) {
        reply.refuse(&outcome_unknown());
        return None;
    }
    match handle(handler, call, method, envelope.params) {
        Ok(result) => {
            let message = response(reply.id(), &result);
            let message = match call.era() {
                Era::Legacy => message,
                Era::Modern => modernized(&message, method),
            };
            reply.answer(message, None)
        }
        Err(problem) => {
            reply.refuse(&problem);
            None
        }
    }
}

/// A handler's panic costs its exchange only.
fn handle(
    handler: &dyn NativeHandler,
    call: &Call,
    method: &str,
    params: Option<&[u8]>,
) -> Result<Vec<u8>, Problem> {
    let request = NativeRequest {
        method,
        params,
        version: call.version,
    };
    let handled = std::panic::catch_unwind(AssertUnwindSafe(|| handler.handle(&request)));
    handled.unwrap_or(Err(Problem::Internal))
}

/// Whether the tool that is called declares that it may run twice.
fn native_may_run_twice(handler: &dyn NativeHandler, call: &Call, called: &Envelope<'_>) -> bool {
    let listed = handle(handler, call, "tools/list", None).unwrap_or_default();
    let listed: Value = serde_json::from_slice(&listed).unwrap_or_default();
    let mut tools = listed["tools"].as_array().into_iter().flatten();
    let tool = tools.find(|tool| tool["name"].as_str() == called.name.as_deref());
    tool.is_some_and(declares)
}

/// What all upstreams say of themselves, as far as they can be asked in time.
async fn describe(host: &Host) -> Result<Arc<ServerInfo>, Problem> {
    let federation = host.federation();
    let upstreams = federation.all();
    // The only upstream is worth waiting for: `npx` may have to download it.
    let patience = match federation.single() {
        Some(_) => ONLY_PATIENCE,
        None => PATIENCE,
    };
    let asked = upstreams.iter().map(|upstream| async move {
        match tokio::time::timeout(patience, upstream.info()).await {
            Ok(info) => info,
            Err(_) => Err(UpstreamError::Silent(patience)),
        }
    });
    let mut known = Vec::new();
    let mut failed = None;
    for (upstream, info) in upstreams.iter().zip(join_all(asked).await) {
        match info {
            Ok(info) => known.push(info),
            Err(error) => failed = Some(unavailable(&federation, upstream, &error)),
        }
    }
    match failed {
        Some(problem) if known.is_empty() => Err(problem),
        _ => Ok(federation.describe(&known)),
    }
}

fn unavailable(federation: &Federation, upstream: &Upstream, error: &UpstreamError) -> Problem {
    federation.count_failure(upstream, error);
    tracing::warn!(upstream = upstream.name(), %error, "upstream unavailable");
    error.problem(upstream.name(), false)
}

/// The description where it needs no asking.
fn described(host: &Host) -> Option<Arc<ServerInfo>> {
    let federation = host.federation();
    let known: Option<Vec<_>> = federation
        .all()
        .iter()
        .map(|upstream| upstream.known_info())
        .collect();
    Some(federation.describe(&known?))
}

/// Answers with the description, now or once the upstreams were asked.
fn with_description<F>(host: &Arc<Host>, reply: Reply, finish: F) -> Option<Run>
where
    F: FnOnce(&Host, &ServerInfo, Reply) -> Option<Run> + Send + 'static,
{
    if let Some(info) = described(host) {
        return finish(host, &info, reply);
    }
    let host = Arc::clone(host);
    Some(Box::pin(async move {
        match describe(&host).await {
            Ok(info) => {
                if let Some(run) = finish(&host, &info, reply) {
                    run.await;
                }
            }
            Err(problem) => reply.refuse(&problem),
        }
    }))
}

/// Opens a session: nothing is kept for it, its id says all (DESIGN 4).
pub(crate) fn initialize(
    host: &Arc<Host>,
    call: &Call,
    envelope: &Envelope<'_>,
    reply: Reply,
) -> Option<Run> {
    match InitializeParams::from_params(envelope.params.unwrap_or(b"{}")) {
        Ok(params) => {
            let claims = claims(call, params);
            with_description(host, reply, move |host, info, reply| {
                finish_initialize(host, &claims, info, reply)
            })
        }
        Err(problem) => {
            reply.refuse(&problem);
            None
        }
    }
}

fn claims(call: &Call, params: InitializeParams) -> SessionClaims {
    SessionClaims {
        client: call.client,
        principal: call.principal,
        key: call.shard.new_session_key(),
        created: hexagram_runtime::clock::unix_seconds(),
        version: call.version,
        capabilities: params.capabilities,
        client_name: params.client_name,
        client_version: params.client_version,
        has_record: false,
    }
}

/// `InitializeResult`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Initialized<'a> {
    protocol_version: &'a str,
    capabilities: Value,
    server_info: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'a str>,
}

fn finish_initialize(
    host: &Host,
    claims: &SessionClaims,
    info: &ServerInfo,
    reply: Reply,
) -> Option<Run> {
    let result = Initialized {
        protocol_version: claims.version.as_str(),
        capabilities: info.capabilities_for(Era::Legacy),
        server_info: &info.server_info,
        instructions: info.instructions.as_deref(),
    };
    let head = Head {
        // 192 random bits do not repeat.
        session_id: host.sealer.seal_session(random::bytes(), claims),
        ..Head::default()
    };
    host.metrics.sessions.inc();
    answer(&result, Some(head), reply)
}

fn answer(result: &impl Serialize, head: Option<Head>, reply: Reply) -> Option<Run> {
    match serde_json::to_vec(result) {
        Ok(result) => {
            let message = response(reply.id(), &result);
            reply.answer(message, head)
        }
        Err(error) => {
            tracing::error!(%error, "a result is not JSON");
            reply.refuse(&Problem::Internal);
            None
        }
    }
}

/// `DiscoverResult`. Nothing is said about how long it holds: an upstream's
/// restart may change it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Discovered<'a> {
    result_type: &'a str,
    supported_versions: Vec<&'a str>,
    capabilities: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'a str>,
    ttl_ms: u64,
    cache_scope: &'a str,
    #[serde(rename = "_meta")]
    meta: Value,
}

/// Answers `server/discover`.
pub(crate) fn discover(host: &Arc<Host>, reply: Reply) -> Option<Run> {
    with_description(host, reply, |_, info, reply| {
        let versions = ProtocolVersion::ALL.iter().rev();
        let result = Discovered {
            result_type: "complete",
            supported_versions: versions.map(|version| version.as_str()).collect(),
            capabilities: info.capabilities_for(Era::Modern),
            instructions: info.instructions.as_deref(),
            ttl_ms: 0,
            cache_scope: "private",
            meta: json!({"io.modelcontextprotocol/serverInfo": info.server_info}),
        };
        answer(&result, None, reply)
    })
}
