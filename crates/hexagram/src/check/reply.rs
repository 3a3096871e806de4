//! One answer as the probes judge it, and in few words for people.

use std::fmt;

use hexagram_mcp::envelope::scan;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use super::failure::Failure;
use super::incoming::{Incoming, media};

/// Of what a server says, this many characters are quoted.
const QUOTED: usize = 160;

/// An answer, or why there is none.
pub(super) type Outcome = Result<Reply, Failure>;

/// An answer that was read as far as it matters.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// The response to the request, if one came.
    pub(super) message: Option<Message>,
    /// Whether the events it came with had ids, so that a client could resume.
    pub(super) has_event_ids: bool,
    /// The start of a body that is no response.
    other: String,
}

/// A JSON-RPC response.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Message {
    Result(Value),
    Error(RpcError),
}

/// The error of a JSON-RPC response.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct RpcError {
    pub(super) code: i64,
    #[serde(default)]
    pub(super) message: String,
    #[serde(default)]
    pub(super) data: Value,
}

impl Reply {
    /// Reads until the response to request `id` has come, or the end.
    pub(super) async fn read(mut incoming: Incoming, id: u64) -> Outcome {
        let mut reply = Self {
            status: incoming.status,
            headers: incoming.headers.clone(),
            message: None,
            has_event_ids: false,
            other: String::new(),
        };
        while let Some(event) = incoming.next().await? {
            reply.has_event_ids |= event.id.is_some();
            reply.message = response(&event.data, id);
            if reply.message.is_some() {
                return Ok(reply);
            }
            if !event.data.is_empty() {
                reply.other = quoted(&String::from_utf8_lossy(&event.data));
            }
        }
        Ok(reply)
    }

    /// A response that came on the stream of an earlier request.
    pub(super) fn streamed(stream: &Incoming, message: Message) -> Self {
        Self {
            status: stream.status,
            headers: stream.headers.clone(),
            message: Some(message),
            has_event_ids: false,
            other: String::new(),
        }
    }

    pub(super) fn result(&self) -> Option<&Value> {
        match &self.message {
            Some(Message::Result(result)) => Some(result),
            _ => None,
        }
    }

    pub(super) fn error(&self) -> Option<&RpcError> {
        match &self.message {
            Some(Message::Error(error)) => Some(error),
            _ => None,
        }
    }

    /// Whether it is this refusal, by status and code.
    pub(super) fn refuses(&self, status: StatusCode, code: i64) -> bool {
        self.status == status && self.error().is_some_and(|error| error.code == code)
    }

    /// Whether it says nothing of the endpoint: a limit or a gateway answered.
    pub(super) fn is_temporary(&self) -> bool {
        [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ]
        .contains(&self.status)
    }

    /// Whether the status or the message is an error.
    pub(super) fn is_refusal(&self) -> bool {
        !self.status.is_success() || self.error().is_some()
    }

    /// Status and code.
    pub(super) fn brief(&self) -> String {
        let status = self.status.as_u16();
        match self.error() {
            Some(error) => format!("HTTP {status}, {}", error.code),
            None => format!("HTTP {status}"),
        }
    }

    pub(super) fn is_html(&self) -> bool {
        media(&self.headers) == "text/html"
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}", self.status.as_u16())?;
        match &self.message {
            Some(Message::Result(_)) => write!(f, " with a result"),
            Some(Message::Error(error)) => {
                write!(f, ", {} {}", error.code, quoted(&error.message))
            }
            None if self.is_html() => write!(f, ", a web page"),
            None if self.other.is_empty() => Ok(()),
            None => write!(f, ": {}", self.other),
        }
    }
}

/// An outcome in few words.
pub(super) fn told(outcome: &Outcome) -> String {
    match outcome {
        Ok(reply) => reply.to_string(),
        Err(failure) => failure.to_string(),
    }
}

/// The response to request `id` in these bytes. An error counts whatever its id:
/// servers that could not read the request send null or something of their own.
pub(super) fn response(data: &[u8], id: u64) -> Option<Message> {
    let envelope = scan(data).ok()?;
    let is_ours = envelope
        .id
        .is_some_and(|found| found.as_str().parse() == Ok(id));
    match (envelope.result, envelope.error) {
        (Some(result), _) if is_ours => serde_json::from_slice(result).ok().map(Message::Result),
        (None, Some(error)) => serde_json::from_slice(error).ok().map(Message::Error),
        _ => None,
    }
}

/// The start of a foreign text, on one line.
pub(super) fn quoted(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A reply with this status and response.
    pub(in super::super) fn reply(status: u16, body: &str) -> Reply {
        Reply {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: HeaderMap::new(),
            message: response(body.as_bytes(), 1),
            has_event_ids: false,
            other: quoted(body),
        }
    }

    #[test]
    fn only_the_response_to_our_request_counts() {
        let ours = r#"{"jsonrpc":"2.0","id":1,"result":{"a":1}}"#;
        let result = serde_json::json!({"a": 1});
        assert_eq!(response(ours.as_bytes(), 1), Some(Message::Result(result)));
        assert_eq!(response(ours.as_bytes(), 2), None);
        let unread = br#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}}"#;
        assert!(matches!(response(unread, 7), Some(Message::Error(error)) if error.code == -32700));
        let asked = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        assert_eq!(response(asked, 1), None);
        assert_eq!(response(b"<html>", 1), None);
    }

    #[test]
    fn replies_are_told_in_few_words() {
        let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no\nsuch"}}"#;
        assert_eq!(reply(404, error).to_string(), "HTTP 404, -32601 no such");
        assert_eq!(
            reply(502, "bad \n gateway").to_string(),
            "HTTP 502: bad gateway"
        );
        assert_eq!(reply(405, "").to_string(), "HTTP 405");
        assert_eq!(quoted(&"x".repeat(999)).len(), QUOTED + 3);
    }
}
