//! The handshake of the legacy era, and the session that it opens.

use hexagram_core::ProtocolVersion;
use hexagram_mcp::header::names::{MCP_PROTOCOL_VERSION, MCP_SESSION_ID};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::client::{Ask, Client};
use super::lists::Speaker;
use super::reply::Outcome;

/// The text of a request.
pub(super) fn request(id: u64, method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

/// The text of `initialize`.
pub(super) fn initialize_request(id: u64, version: ProtocolVersion) -> Value {
    let params = json!({
        "protocolVersion": version.as_str(),
        "capabilities": {},
        "clientInfo": client_info(),
    });
    request(id, "initialize", &params)
}

/// The text of the notification that ends the handshake.
pub(super) fn initialized() -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/initialized"})
}

/// How the check introduces itself.
pub(super) fn client_info() -> Value {
    json!({"name": "hexagram-check", "version": env!("CARGO_PKG_VERSION")})
}

/// What `initialize` led to.
pub(super) struct Handshake<'a> {
    pub(super) outcome: Outcome,
    /// There is one wherever the answer was a result.
    pub(super) session: Option<Session<'a>>,
}

/// A session, or what stands for one where the server issues no id.
pub(super) struct Session<'a> {
    pub(super) client: &'a Client,
    /// The version that the server chose.
    pub(super) negotiated: String,
    /// What makes a request one of this session.
    pub(super) headers: HeaderMap,
    /// Whether an answer came in events with ids.
    pub(super) has_event_ids: bool,
}

/// Asks for a session in this version.
pub(super) async fn initialize(client: &Client, version: ProtocolVersion) -> Handshake<'_> {
    let id = client.new_id();
    let ask = Ask::post(&initialize_request(id, version));
    let outcome = client.answer(ask, id).await;
    let session = Session::opened(client, &outcome);
    Handshake { outcome, session }
}

impl<'a> Session<'a> {
    fn opened(client: &'a Client, outcome: &Outcome) -> Option<Self> {
        let reply = outcome.as_ref().ok()?;
        let result = reply.result()?;
        let negotiated = result["protocolVersion"].as_str().unwrap_or_default();
        let mut headers = HeaderMap::new();
        if let Some(id) = reply.headers.get(MCP_SESSION_ID) {
            headers.insert(MCP_SESSION_ID, id.clone());
        }
        if knows_version_header(negotiated)
            && let Ok(version) = HeaderValue::from_str(negotiated)
        {
            headers.insert(MCP_PROTOCOL_VERSION, version);
        }
        Some(Self {
            client,
            negotiated: negotiated.to_owned(),
            headers,
            has_event_ids: reply.has_event_ids,
        })
    }

    pub(super) fn id(&self) -> Option<&HeaderValue> {
        self.headers.get(MCP_SESSION_ID)
    }

    /// Sends something else than a request and gives what came back.
    pub(super) async fn tell(&self, ask: Ask) -> Outcome {
        self.client.tell(ask.headers(&self.headers)).await
    }

    /// Ends the handshake.
    pub(super) async fn initialized(&self) -> Outcome {
        self.tell(Ask::post(&initialized())).await
    }

    /// `ping` with one more header, which wins over that of the session.
    pub(super) async fn ping_with(&self, name: HeaderName, value: &'static str) -> Outcome {
        let id = self.client.new_id();
        let ask = Ask::post(&request(id, "ping", &json!({}))).headers(&self.headers);
        self.client.answer(ask.header(name, value), id).await
    }

    /// Ends the session, where there is one to end.
    pub(super) async fn end(&self) -> Option<Outcome> {
        self.id()?;
        let ask = Ask::delete().headers(&self.headers);
        Some(self.client.goodbye(ask).await)
    }
}

impl Speaker for Session<'_> {
    async fn ask(&mut self, method: &'static str, params: Value) -> Outcome {
        let id = self.client.new_id();
        let ask = Ask::post(&request(id, method, &params)).headers(&self.headers);
        let outcome = self.client.answer(ask, id).await;
        self.has_event_ids |= outcome.as_ref().is_ok_and(|reply| reply.has_event_ids);
        outcome
    }
}

/// Whether the header is sent after a handshake with this version.
pub(super) fn knows_version_header(version: &str) -> bool {
    version >= ProtocolVersion::V2025_06_18.as_str()
}
