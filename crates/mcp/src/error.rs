//! The one table of errors (DESIGN 5): what Hexagram itself answers when it
//! cannot serve a message. Errors of handlers and upstreams pass through as they are.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use hexagram_core::{Era, ProtocolVersion};
use http::StatusCode;
use serde_json::{Value, json};

use crate::envelope::ScanError;
use crate::header::HeaderError;

/// Why a message is not served. Its text says the cause and what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Problem {
    /// The body is not JSON.
    #[error("parse error: {detail}")]
    ParseError {
        /// What is wrong and where.
        detail: String,
    },
    /// The body is no JSON-RPC message, or one that has no place here.
    #[error("invalid request: {detail}")]
    InvalidRequest {
        /// The rule it breaks.
        detail: String,
    },
    /// No such method in this era.
    #[error("method not found: {method}; server/discover or initialize tells what is served")]
    MethodNotFound {
        /// The method asked for.
        method: String,
    },
    /// Parameters missing or of another type.
    #[error("invalid params: {detail}")]
    InvalidParams {
        /// Which, and what they must be.
        detail: String,
    },
    /// A defect of ours.
    #[error("internal error; it is logged, retrying may help")]
    Internal,
    /// The caller's token bucket is empty.
    #[error("rate limit reached; retry after {retry_after_ms} ms")]
    RateLimited {
        /// When a token will be there.
        retry_after_ms: u64,
    },
    /// Admission refused: the shard has too much to do.
    #[error("overloaded; retry after {retry_after_ms} ms")]
    Overloaded {
        /// When to try again.
        retry_after_ms: u64,
    },
    /// The shard is between two owners for longer than the edge parks messages.
    #[error("the shard is moving; retry after {retry_after_ms} ms")]
    Moving {
        /// When to try again.
        retry_after_ms: u64,
    },
    /// The shard's owner is gone and no other serves it yet.
    #[error("the shard's worker is down; retry after {retry_after_ms} ms")]
    WorkerDown {
        /// When to try again.
        retry_after_ms: u64,
    },
    /// What must be recorded cannot be: the session store does not answer.
    #[error("the session store does not answer; retry after {retry_after_ms} ms")]
    StoreAway {
        /// When to try again.
        retry_after_ms: u64,
    },
    /// The process that was asked is shutting down.
    #[error("this server is shutting down; retry after {retry_after_ms} ms on a new connection")]
    Draining {
        /// When to try again.
        retry_after_ms: u64,
    },
    /// The call may or may not have been executed.
    #[error("outcome unknown: {detail}; check its effect before repeating the call")]
    OutcomeUnknown {
        /// What was lost.
        detail: String,
        /// The upstream's configured name, where one is to blame.
        upstream: Option<String>,
    },
    /// An upstream does not answer, or not as MCP wants it.
    #[error("upstream {upstream} is unavailable: {detail}; retry later or check that server")]
    UpstreamUnavailable {
        /// The upstream's configured name.
        upstream: String,
        /// What it did.
        detail: String,
    },
    /// The shard keeps failing and was taken out of service.
    #[error(
        "the shard is in quarantine, for it kept failing; an operator can end that with `hexagram move`; retry after {retry_after_ms} ms"
    )]
    ShardQuarantined {
        /// When to try again.
        retry_after_ms: u64,
    },
    /// The other side's era has no form for it.
    #[error("{what} is not possible between a client and an upstream of different eras")]
    NotAcrossEras {
        /// The feature.
        what: String,
    },
    /// A header that mirrors the body is missing, unreadable or different.
    #[error("header mismatch: {detail}")]
    HeaderMismatch {
        /// Which header, and what it should say.
        detail: String,
    },
    /// The request needs something that its client did not declare.
    #[error("the client must declare the capabilities {required} on this request")]
    MissingClientCapability {
        /// The missing ones, as a client-capabilities object.
        required: Value,
    },
    /// A version that is none of ours.
    #[error("unsupported protocol version {requested:?}; choose one of data.supported")]
    UnsupportedVersion {
        /// The version asked for.
        requested: String,
    },
    /// The session is unknown, over, or another principal's.
    #[error("session not found; send initialize for a new one")]
    SessionNotFound,
    /// A Last-Event-ID that leads to nothing: never given, or no longer kept.
    #[error(
        "unknown Last-Event-ID; what it stood for is not kept any more: repeat the request, or send GET without it"
    )]
    UnknownEvent,
    /// A legacy message without a session.
    #[error("no Mcp-Session-Id; send initialize first, or the modern request metadata")]
    SessionRequired,
    /// No credentials, or none that hold.
    #[error("unauthorized; send valid credentials")]
    Unauthorized,
    /// A page from elsewhere drives the browser.
    #[error("the Origin is not allowed; add it to the allowed origins if it is yours")]
    ForbiddenOrigin,
    /// The request was meant for another host.
    #[error("the Host is not allowed; add it to the allowed hosts if it is yours")]
    ForbiddenHost,
    /// The reply would be in a form the client does not take.
    #[error("not acceptable; accept application/json and text/event-stream")]
    NotAcceptable,
    /// The body is not declared as JSON.
    #[error("unsupported media type; send Content-Type: application/json")]
    UnsupportedMediaType,
    /// The message exceeds the limit.
    #[error("the message is larger than {limit} bytes; send less or raise the limit")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// A path that is not the endpoint's.
    #[error("nothing is served at {path}; the MCP endpoint is /mcp")]
    NotFound {
        /// The path asked for.
        path: String,
    },
    /// An HTTP method that the endpoint does not serve to this client.
    #[error("method not allowed; send {allowed} (GET and DELETE only with a session)")]
    MethodNotAllowed {
        /// What it does serve, as the `Allow` header lists it.
        allowed: &'static str,
    },
}

impl Problem {
    /// The table. Codes of ours lie in -32000..=-32019, those from -32020 on are
    /// MCP's own, the others JSON-RPC's.
    fn row(&self) -> (StatusCode, i32, &'static str) {
        type S = StatusCode;
        match self {
            Self::ParseError { .. } => (S::BAD_REQUEST, -32700, "parse_error"),
            Self::InvalidRequest { .. } => (S::BAD_REQUEST, -32600, "invalid_request"),
            Self::MethodNotFound { .. } => (S::NOT_FOUND, -32601, "method_not_found"),
            Self::InvalidParams { .. } => (S::BAD_REQUEST, -32602, "invalid_params"),
            Self::Internal => (S::INTERNAL_SERVER_ERROR, -32603, "internal"),
            Self::RateLimited { .. } => (S::TOO_MANY_REQUESTS, -32010, "rate_limited"),
            Self::Overloaded { .. } => (S::SERVICE_UNAVAILABLE, -32011, "overloaded"),
            Self::Moving { .. } => (S::SERVICE_UNAVAILABLE, -32011, "moving"),
            Self::WorkerDown { .. } => (S::SERVICE_UNAVAILABLE, -32011, "worker_down"),
            Self::StoreAway { .. } => (S::SERVICE_UNAVAILABLE, -32011, "store_unavailable"),
            Self::Draining { .. } => (S::SERVICE_UNAVAILABLE, -32011, "draining"),
            Self::OutcomeUnknown { .. } => (S::OK, -32012, "outcome_unknown"),
            Self::UpstreamUnavailable { .. } => (S::BAD_GATEWAY, -32013, "upstream_unavailable"),
            Self::ShardQuarantined { .. } => (S::SERVICE_UNAVAILABLE, -32014, "shard_quarantined"),
            Self::NotAcrossEras { .. } => (S::OK, -32015, "not_across_eras"),
            Self::HeaderMismatch { .. } => (S::BAD_REQUEST, -32020, "header_mismatch"),
            Self::MissingClientCapability { .. } => {
                (S::BAD_REQUEST, -32021, "missing_client_capability")
            }
            Self::UnsupportedVersion { .. } => (S::BAD_REQUEST, -32022, "unsupported_version"),
            Self::SessionNotFound => (S::NOT_FOUND, -32001, "session_not_found"),
            Self::UnknownEvent => (S::BAD_REQUEST, -32000, "unknown_event"),
            Self::SessionRequired => (S::BAD_REQUEST, -32000, "session_required"),
            Self::Unauthorized => (S::UNAUTHORIZED, -32000, "unauthorized"),
            Self::ForbiddenOrigin => (S::FORBIDDEN, -32000, "forbidden_origin"),
            Self::ForbiddenHost => (S::FORBIDDEN, -32000, "forbidden_host"),
            Self::NotAcceptable => (S::NOT_ACCEPTABLE, -32000, "not_acceptable"),
            Self::UnsupportedMediaType => {
                (S::UNSUPPORTED_MEDIA_TYPE, -32000, "unsupported_media_type")
            }
            Self::TooLarge { .. } => (S::PAYLOAD_TOO_LARGE, -32000, "too_large"),
            Self::NotFound { .. } => (S::NOT_FOUND, -32000, "not_found"),
            Self::MethodNotAllowed { .. } => (S::METHOD_NOT_ALLOWED, -32000, "method_not_allowed"),
        }
    }

    /// The status of an HTTP reply that consists of this error. "Outcome
    /// unknown" and "not across eras" answer a call, hence 200.
    #[must_use]
    pub fn http_status(&self) -> StatusCode {
        self.row().0
    }

    /// The status where the client's era is known. To a legacy client the errors
    /// of a method (-32601, -32602, -32603) go out with 200: it reads any other
    /// status as a broken transport.
    #[must_use]
    pub fn http_status_in(&self, era: Era) -> StatusCode {
        match (era, self.code()) {
            (Era::Legacy, -32603..=-32601) => StatusCode::OK,
            _ => self.http_status(),
        }
    }

    /// The status of a modern reply that consists of an error with this code,
    /// whoever made it (Streamable HTTP 2026-07-28, "Error Handling").
    #[must_use]
    pub fn modern_status(code: i64) -> StatusCode {
        match code {
            -32601 => StatusCode::NOT_FOUND,
            -32700 | -32600 | -32022..=-32020 => StatusCode::BAD_REQUEST,
            _ => StatusCode::OK,
        }
    }

    /// The JSON-RPC error code.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.row().1
    }

    /// A stable word for machines: `data.reason`, and the label in metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.row().2
    }

    /// When a repetition may succeed, in milliseconds, where that is known.
    #[must_use]
    pub fn retry_after_ms(&self) -> Option<u64> {
        match *self {
            Self::RateLimited { retry_after_ms }
            | Self::Overloaded { retry_after_ms }
            | Self::Moving { retry_after_ms }
            | Self::WorkerDown { retry_after_ms }
            | Self::StoreAway { retry_after_ms }
            | Self::ShardQuarantined { retry_after_ms }
            | Self::Draining { retry_after_ms } => Some(retry_after_ms),
            _ => None,
        }
    }

    /// The complete JSON-RPC error response. `id` is the request's, as JSON text
    /// ([`RawId::as_str`](crate::RawId::as_str)); without one it is null.
    #[must_use]
    pub fn body(&self, id: Option<&str>) -> Bytes {
        let id = id.unwrap_or("null");
        let error = json!({
            "code": self.code(),
            "message": self.to_string(),
            "data": self.data(),
        });
        format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#).into()
    }

    fn data(&self) -> Value {
        let mut data = json!({ "reason": self.reason() });
        if let Some(wait) = self.retry_after_ms() {
            data["retryAfterMs"] = json!(wait);
        }
        match self {
            Self::UpstreamUnavailable { upstream, .. }
            | Self::OutcomeUnknown {
                upstream: Some(upstream),
                ..
            } => data["upstream"] = json!(upstream),
            Self::MissingClientCapability { required } => {
                data["requiredCapabilities"] = required.clone();
            }
            Self::UnsupportedVersion { requested } => {
                data["supported"] = json!(ProtocolVersion::ALL.map(ProtocolVersion::as_str));
                data["requested"] = json!(requested);
            }
            _ => {}
        }
        data
    }
}

impl From<ScanError> for Problem {
    fn from(error: ScanError) -> Self {
        let detail = error.to_string();
        match error {
            ScanError::NotJson { .. } => Self::ParseError { detail },
            ScanError::NotJsonRpc { .. } => Self::InvalidRequest { detail },
        }
    }
}

impl From<HeaderError> for Problem {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::UnsupportedVersion { requested } => Self::UnsupportedVersion { requested },
            other => Self::HeaderMismatch {
                detail: other.to_string(),
            },
        }
    }
}
