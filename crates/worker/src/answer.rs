//! What a worker answers itself: the handshakes, ping, and native handlers.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use hexagram_core::{Era, ProtocolVersion, SessionClaims};
use hexagram_mcp::client::InitializeParams;
use hexagram_mcp::envelope::Envelope;
use hexagram_mcp::error::Problem;
use hexagram_proto::link::Head;
use serde_json::{Value, json};

use crate::host::{Call, Host, Run};
use crate::relay::modernized;
use crate::reply::Reply;
use crate::upstream::{NativeHandler, NativeRequest, ServerInfo, Upstream, UpstreamError};

/// Answers with an empty result.
pub(crate) fn empty(reply: Reply) {
    let message = message(reply.id(), b"{}");
    reply.answer(message, None);
}

/// A JSON-RPC response.
fn message(id: &str, result: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(result.len() + id.len() + 40);
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(br#","result":"#);
    out.extend_from_slice(result);
    out.push(b'}');
    Bytes::from(out)
}

/// Runs a native handler here and now; its panic costs this exchange only.
pub(crate) fn native(
    handler: &dyn NativeHandler,
    call: &Call,
    envelope: &Envelope<'_>,
    reply: Reply,
) {
    let method = envelope.method.as_deref().unwrap_or_default();
    let request = NativeRequest {
        method,
        params: envelope.params,
        version: call.version,
    };
    let handled = std::panic::catch_unwind(AssertUnwindSafe(|| handler.handle(&request)));
    match handled.unwrap_or(Err(Problem::Internal)) {
        Ok(result) => {
            let message = message(reply.id(), &result);
            let message = match call.era() {
                Era::Legacy => message,
                Era::Modern => modernized(&message, method),
            };
            reply.answer(message, None);
        }
        Err(problem) => reply.refuse(&problem),
    }
}

/// What all upstreams say of themselves, as far as they can be asked.
async fn describe(host: &Host) -> Result<ServerInfo, Problem> {
    let upstreams = host.federation.all();
    let asked = join_all(upstreams.iter().map(Upstream::info)).await;
    let mut known = Vec::new();
    let mut failed = None;
    for (upstream, info) in upstreams.iter().zip(asked) {
        match info {
            Ok(info) => known.push(info.as_ref().clone()),
            Err(error) => failed = Some(unavailable(upstream, &error)),
        }
    }
    match failed {
        Some(problem) if known.is_empty() => Err(problem),
        _ => Ok(host.federation.describe(&known)),
    }
}

fn unavailable(upstream: &Upstream, error: &UpstreamError) -> Problem {
    tracing::warn!(upstream = upstream.name(), %error, "upstream unavailable");
    error.problem(upstream.name(), false)
}

/// The description where it needs no asking.
fn described(host: &Host) -> Option<ServerInfo> {
    let known: Option<Vec<_>> = host
        .federation
        .all()
        .iter()
        .map(Upstream::known_info)
        .collect();
    let known: Vec<_> = known?.iter().map(|info| info.as_ref().clone()).collect();
    Some(host.federation.describe(&known))
}

/// Opens a session: nothing is kept for it, its id says all (DESIGN 4).
pub(crate) fn initialize(
    host: &Arc<Host>,
    call: Call,
    envelope: &Envelope<'_>,
    reply: Reply,
) -> Option<Run> {
    let params = InitializeParams::from_params(envelope.params.unwrap_or(b"{}"));
    let claims = match params {
        Ok(params) => claims(&call, params),
        Err(problem) => {
            reply.refuse(&problem);
            return None;
        }
    };
    let host = Arc::clone(host);
    if let Some(info) = described(&host) {
        finish_initialize(&host, &claims, &info, reply);
        return None;
    }
    Some(Box::pin(async move {
        match describe(&host).await {
            Ok(info) => finish_initialize(&host, &claims, &info, reply),
            Err(problem) => reply.refuse(&problem),
        }
    }))
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

fn finish_initialize(host: &Host, claims: &SessionClaims, info: &ServerInfo, reply: Reply) {
    let mut result = json!({
        "protocolVersion": claims.version.as_str(),
        "capabilities": info.capabilities,
        "serverInfo": info.server_info,
    });
    add_instructions(&mut result, info);
    let message = message(reply.id(), result.to_string().as_bytes());
    let head = Head {
        session_id: host.sealer.seal_session(nonce(), claims),
        ..Head::default()
    };
    host.metrics.sessions.inc();
    reply.answer(message, Some(head));
}

fn add_instructions(result: &mut Value, info: &ServerInfo) {
    if let Some(instructions) = &info.instructions {
        result["instructions"] = Value::from(instructions.as_str());
    }
}

/// A fresh nonce: 192 random bits do not repeat.
fn nonce() -> [u8; 24] {
    let mut nonce = [0; 24];
    // Without randomness no id is safe to hand out; Linux always has it after boot.
    getrandom::fill(&mut nonce).expect("the operating system gives randomness");
    nonce
}

/// Answers `server/discover`.
pub(crate) fn discover(host: &Arc<Host>, reply: Reply) -> Option<Run> {
    let host = Arc::clone(host);
    if let Some(info) = described(&host) {
        finish_discover(&info, reply);
        return None;
    }
    Some(Box::pin(async move {
        match describe(&host).await {
            Ok(info) => finish_discover(&info, reply),
            Err(problem) => reply.refuse(&problem),
        }
    }))
}

fn finish_discover(info: &ServerInfo, reply: Reply) {
    let versions: Vec<_> = ProtocolVersion::ALL
        .iter()
        .rev()
        .map(|version| version.as_str())
        .collect();
    let mut result = json!({
        "resultType": "complete",
        "supportedVersions": versions,
        "capabilities": info.capabilities,
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": {"io.modelcontextprotocol/serverInfo": info.server_info},
    });
    add_instructions(&mut result, info);
    let message = message(reply.id(), result.to_string().as_bytes());
    reply.answer(message, None);
}
