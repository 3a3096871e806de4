//! One client's session with an upstream, whatever carries it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use hexagram_mcp::client::capabilities_json;
use hexagram_mcp::envelope::scan;
use serde_json::{Value, json};

use super::duplex::Duplex;
use super::http::HttpConnection;
use super::{Incoming, UpstreamError, unread};
use crate::facts::ClientFacts;

/// One client's session with an upstream.
#[derive(Debug)]
pub(crate) enum Connection {
    Http(HttpConnection),
    Duplex(Duplex),
}

impl Connection {
    /// Sends a request whose id is `id`; gives what comes back for it, its
    /// response last.
    pub(crate) async fn request(&self, id: &str, body: Bytes) -> Result<Incoming, UpstreamError> {
        match self {
            Self::Http(http) => http.request(id, body).await,
            Self::Duplex(duplex) => duplex.request(id, body).await,
        }
    }

    /// Sends a request that is answered for as long as somebody listens.
    pub(crate) async fn listen(&self, id: &str, body: Bytes) -> Result<Incoming, UpstreamError> {
        match self {
            Self::Http(http) => http.listen(id, body).await,
            Self::Duplex(duplex) => duplex.request(id, body).await,
        }
    }

    /// Sends a request and waits for its response alone. What the upstream
    /// asks meanwhile is refused: no client reads here.
    pub(crate) async fn ask(&self, id: &str, body: Bytes) -> Result<Bytes, UpstreamError> {
        let mut incoming = match self {
            Self::Http(http) => http.request(id, body).await?,
            Self::Duplex(duplex) => duplex.ask(id, body).await?,
        };
        while let Some(message) = incoming.next().await {
            let message = message?;
            let Ok(envelope) = scan(&message) else {
                continue;
            };
            if envelope.kind.is_response() {
                return Ok(message);
            }
            if let Some(answer) = unread::answer(&envelope) {
                self.send(answer).await?;
            }
        }
        Err(UpstreamError::Broken(
            "it closed without a response".to_owned(),
        ))
    }

    /// Sends a notification or a response.
    pub(crate) async fn send(&self, body: Bytes) -> Result<(), UpstreamError> {
        match self {
            Self::Http(http) => http.send(body).await,
            Self::Duplex(duplex) => duplex.send(body).await,
        }
    }

    /// Messages that belong to no request.
    pub(crate) async fn standing(&self) -> Result<Incoming, UpstreamError> {
        match self {
            Self::Http(http) => http.standing().await,
            Self::Duplex(duplex) => Ok(duplex.standing()),
        }
    }

    /// Whether [`Self::standing`] goes on where it was lost.
    pub(crate) fn resumes(&self) -> bool {
        match self {
            Self::Http(http) => http.resumes(),
            Self::Duplex(_) => false,
        }
    }

    /// Whether the upstream itself was there for what [`Self::standing`] gave: that it
    /// offers none may be an ingress's word.
    pub(crate) fn has_stood(&self) -> bool {
        match self {
            Self::Http(http) => http.has_stood(),
            Self::Duplex(duplex) => duplex.is_open(),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Http(http) => http.is_open(),
            Self::Duplex(duplex) => duplex.is_open(),
        }
    }

    /// Ends the session at the upstream.
    pub(crate) async fn close(&self) {
        match self {
            Self::Http(http) => http.close().await,
            Self::Duplex(duplex) => duplex.close(),
        }
    }

    /// Ends a session for which nobody need wait.
    pub(super) fn close_behind(self) {
        tokio::spawn(async move { self.close().await });
    }

    /// The session once its handshake is over, and the result of `initialize`.
    /// What a failed one leaves at the upstream is ended.
    pub(super) async fn initialized(
        self,
        facts: &ClientFacts,
        limit: Duration,
    ) -> Result<(Self, Value), UpstreamError> {
        let result = tokio::time::timeout(limit, self.initialize(facts)).await;
        let result = result.unwrap_or_else(|_| {
            let seconds = limit.as_secs();
            Err(UpstreamError::Unreachable(format!(
                "it did not complete the MCP handshake within {seconds} s"
            )))
        });
        match result {
            Ok(result) => Ok((self, result)),
            Err(error) => {
                self.close_behind();
                Err(error)
            }
        }
    }

    async fn initialize(&self, facts: &ClientFacts) -> Result<Value, UpstreamError> {
        let response = self.ask("\"0\"", initialize_request(facts)).await?;
        let response: Value = serde_json::from_slice(&response)
            .map_err(|error| UpstreamError::Garbage(error.to_string()))?;
        let result = &response["result"];
        if !result.is_object() {
            let none = || UpstreamError::Garbage("initialize: no result".to_owned());
            return Err(UpstreamError::denied("initialize", &response).unwrap_or_else(none));
        }
        if let Self::Http(http) = self {
            http.negotiated(result["protocolVersion"].as_str());
        }
        self.send(initialized()).await?;
        Ok(result.clone())
    }
}

/// The last message of a handshake.
pub(super) fn initialized() -> Bytes {
    Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
}

fn initialize_request(facts: &ClientFacts) -> Bytes {
    let request = json!({
        "jsonrpc": "2.0",
        "id": "0",
        "method": "initialize",
        "params": {
            "protocolVersion": facts.version.as_str(),
            "capabilities": capabilities_json(facts.capabilities),
            "clientInfo": {"name": facts.name, "version": facts.software_version},
        },
    });
    Bytes::from(request.to_string())
}
