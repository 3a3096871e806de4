//! The beginning and the end of a legacy session.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::message::{LEGACY_VERSION, PROTOCOL_VERSION, client_info};
use crate::wire::Wire;

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// The id of `initialize`; those of calls follow.
pub(crate) const INITIALIZE_ID: u64 = 0;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InitializeResult {
    protocol_version: String,
}

/// Starts a session; `headers` get its id and its version.
pub(crate) async fn handshake(
    endpoint: &Endpoint,
    wire: &mut Wire,
    headers: &mut HeaderMap,
) -> Result<(), Failure> {
    let body = json!({
        "jsonrpc": "2.0", "id": INITIALIZE_ID, "method": "initialize",
        "params": {
            "protocolVersion": LEGACY_VERSION, "capabilities": {}, "clientInfo": client_info(),
        },
    });
    let mut post = async |headers: &HeaderMap, body: String| {
        let request = endpoint.request(Method::POST, headers.clone(), body.into());
        wire.send(request).await
    };
    let received = post(headers, body.to_string()).await?;
    let version = received
        .reply()
        .with_result(INITIALIZE_ID, negotiated_version)?;
    headers.insert(PROTOCOL_VERSION, version);
    if let Some(session) = received.headers.get(SESSION_ID) {
        headers.insert(SESSION_ID, session.clone());
    }
    let accepted = post(headers, INITIALIZED.to_owned()).await?;
    if accepted.status.is_success() {
        return Ok(());
    }
    Err(accepted.reply().refusal())
}

/// Ends the session of `headers`. A 405 only says that the server's sessions end
/// by themselves.
pub(crate) async fn farewell(
    endpoint: &Endpoint,
    wire: &mut Wire,
    headers: &HeaderMap,
) -> Result<(), Failure> {
    let request = endpoint.request(Method::DELETE, headers.clone(), Bytes::new());
    let received = wire.send(request).await?;
    let status = received.status;
    if status.is_success() || status == StatusCode::METHOD_NOT_ALLOWED {
        return Ok(());
    }
    Err(received.reply().refusal())
}

/// Whether there is a session to end.
pub(crate) fn has_session(headers: &HeaderMap) -> bool {
    headers.contains_key(SESSION_ID)
}

fn negotiated_version(result: &str) -> Result<HeaderValue, Failure> {
    serde_json::from_str::<InitializeResult>(result)
        .ok()
        .and_then(|result| result.protocol_version.parse().ok())
        .ok_or(Failure::NoAnswer)
}
