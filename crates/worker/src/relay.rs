//! Messages on their way between a client and an upstream: ids and progress
//! tokens toward upstreams are ours, and are put back on the way to the client.
//! Nothing is parsed into a tree; the bytes between stay as they are.

use bytes::Bytes;
use hexagram_core::Era;
use hexagram_mcp::envelope::{Envelope, Kind, scan};
use hexagram_mcp::splice;

use crate::upstream::{BEGIN_STREAM, CLOSE_STREAM};

/// A client's request as its upstream sees it.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// Our id, as raw JSON.
    pub(crate) id: String,
    pub(crate) body: Bytes,
}

/// Puts our id and progress token into a client's request.
pub(crate) fn outgoing(upstream_id: &str, body: &[u8], envelope: &Envelope<'_>) -> Outgoing {
    let id = format!("\"{upstream_id}\"");
    let token = envelope.meta.progress_token.as_ref().map(|_| id.as_str());
    let body = splice::with_id_and_progress_token(body, envelope, &id, token);
    Outgoing { id, body }
}

/// What an upstream's message means for the exchange it came on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Relayed {
    /// The response: the exchange's last message.
    Response(Bytes),
    /// A notification or request for the client.
    Message(Bytes),
    /// A request to a client that cannot be asked in its era; the upstream
    /// gets this answer.
    Refuse(Bytes),
    /// The response will take a while: the client's stream is to begin.
    Begin,
    /// The client is to let go of its stream and come back for the rest.
    Close,
    /// Nothing that the client should see.
    Drop,
    /// No JSON-RPC message, for this reason.
    Garbage(String),
}

/// How to translate an upstream's messages on one exchange.
#[derive(Debug)]
pub(crate) struct Translation<'a> {
    /// Name of the upstream: marks its requests' ids.
    pub(crate) upstream: &'a str,
    /// Our raw id at the upstream; `None` on a standing stream.
    pub(crate) our_id: Option<&'a str>,
    /// The client's raw id and progress token.
    pub(crate) client_id: Option<&'a str>,
    pub(crate) client_token: Option<&'a str>,
    pub(crate) era: Era,
    /// Whether the client wants log messages on this exchange.
    pub(crate) logs: bool,
}

impl Translation<'_> {
    /// Translates one message.
    pub(crate) fn translate(&self, message: &Bytes) -> Relayed {
        let envelope = match scan(message) {
            Ok(envelope) => envelope,
            Err(error) => return Relayed::Garbage(error.to_string()),
        };
        match envelope.kind {
            Kind::Response | Kind::ErrorResponse => self.response(message, &envelope),
            Kind::Notification => self.notification(message, &envelope),
            Kind::Request => self.request(message, &envelope),
        }
    }

    fn response(&self, message: &Bytes, envelope: &Envelope<'_>) -> Relayed {
        let id = envelope.id.as_ref().map(|id| id.as_str());
        match (self.client_id, self.our_id) {
            (Some(client_id), Some(our_id)) if id == Some(our_id) => {
                Relayed::Response(splice::with_id(message, envelope, client_id))
            }
            _ => Relayed::Drop,
        }
    }

    fn notification(&self, message: &Bytes, envelope: &Envelope<'_>) -> Relayed {
        if let Some(token) = &envelope.progress_token {
            return match self.client_token {
                Some(client) if Some(token.as_str()) == self.our_id => {
                    Relayed::Message(splice::with_progress_token(message, envelope, client))
                }
                _ => Relayed::Drop,
            };
        }
        match envelope.method.as_deref() {
            Some(CLOSE_STREAM) => return Relayed::Close,
            Some(BEGIN_STREAM) => return Relayed::Begin,
            _ => {}
        }
        if let Some(request) = &envelope.request_id {
            // The upstream takes back a request that the client knows by our id.
            let marked = client_facing_id(self.upstream, request.as_str());
            return match self.era {
                Era::Legacy => {
                    Relayed::Message(splice::with_request_id(message, envelope, &marked))
                }
                Era::Modern => Relayed::Drop,
            };
        }
        if !self.logs && envelope.method.as_deref() == Some("notifications/message") {
            return Relayed::Drop;
        }
        // Changes of lists and resources reach modern clients on a
        // subscription, never on a request's own stream.
        let standing_only = envelope.method.as_deref().is_some_and(|method| {
            method.ends_with("/list_changed") || method == "notifications/resources/updated"
        });
        if self.era == Era::Modern && standing_only {
            return Relayed::Drop;
        }
        Relayed::Message(message.clone())
    }

    fn request(&self, message: &Bytes, envelope: &Envelope<'_>) -> Relayed {
        let Some(id) = &envelope.id else {
            return Relayed::Drop;
        };
        if self.era == Era::Modern && envelope.method.as_deref() == Some("ping") {
            return Relayed::Refuse(crate::reply::response(id.as_str(), b"{}"));
        }
        if self.era == Era::Modern {
            let problem = hexagram_mcp::error::Problem::NotAcrossEras {
                what: "a request from the server to the client".to_owned(),
            };
            return Relayed::Refuse(problem.body(Some(id.as_str())));
        }
        let marked = client_facing_id(self.upstream, id.as_str());
        Relayed::Message(splice::with_id(message, envelope, &marked))
    }
}

/// The id under which a client sees an upstream's request. It names the
/// upstream and holds the upstream's own id, so that the answer finds its way
/// without a table.
fn client_facing_id(upstream: &str, raw_id: &str) -> String {
    serde_json::Value::from(format!("{upstream}/{raw_id}")).to_string()
}

/// Reads a [`client_facing_id`] back: the upstream's name and its own raw id.
pub(crate) fn upstream_of(raw_id: &str) -> Option<(String, String)> {
    let text: String = serde_json::from_str(raw_id).ok()?;
    let (upstream, id) = text.split_once('/')?;
    let is_id = serde_json::from_str::<serde_json::Value>(id)
        .is_ok_and(|value| value.is_string() || value.is_number());
    is_id.then(|| (upstream.to_owned(), id.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    fn legacy() -> Translation<'static> {
        Translation {
            upstream: "up",
            our_id: Some("\"1.7\""),
            client_id: Some("42"),
            client_token: Some("\"tok\""),
            era: Era::Legacy,
            logs: true,
        }
    }

    #[test]
    fn a_request_carries_our_id_and_token() {
        let body = br#"{"jsonrpc":"2.0","id":42,"method":"tools/call","params":{"_meta":{"progressToken":"tok"},"name":"x"}}"#;
        let out = outgoing("1.7", body, &scan(body).expect("an envelope"));
        assert_eq!(out.id, "\"1.7\"");
        assert_eq!(
            out.body,
            bytes(
                r#"{"jsonrpc":"2.0","id":"1.7","method":"tools/call","params":{"_meta":{"progressToken":"1.7"},"name":"x"}}"#
            )
        );
    }

    #[test]
    fn ids_and_tokens_are_put_back() {
        let response = bytes(r#"{"jsonrpc":"2.0","id":"1.7","result":{}}"#);
        assert_eq!(
            legacy().translate(&response),
            Relayed::Response(bytes(r#"{"jsonrpc":"2.0","id":42,"result":{}}"#))
        );
        let progress = bytes(
            r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"1.7","progress":1}}"#,
        );
        assert_eq!(
            legacy().translate(&progress),
            Relayed::Message(bytes(
                r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"tok","progress":1}}"#
            ))
        );
        let foreign = bytes(r#"{"jsonrpc":"2.0","id":"1.8","result":{}}"#);
        assert_eq!(legacy().translate(&foreign), Relayed::Drop);
    }

    #[test]
    fn an_answer_finds_the_upstream_that_asked() {
        let request = bytes(
            r#"{"jsonrpc":"2.0","id":"a\"/b","method":"sampling/createMessage","params":{}}"#,
        );
        let Relayed::Message(marked) = legacy().translate(&request) else {
            panic!("a request goes to a legacy client");
        };
        let envelope = scan(&marked).expect("an envelope");
        let id = envelope.id.expect("an id");
        let (upstream, raw) = upstream_of(id.as_str()).expect("a marked id");
        assert_eq!((upstream.as_str(), raw.as_str()), ("up", r#""a\"/b""#));
    }

    #[test]
    fn a_modern_client_is_never_asked() {
        let modern = Translation {
            era: Era::Modern,
            ..legacy()
        };
        let request = bytes(r#"{"jsonrpc":"2.0","id":5,"method":"roots/list"}"#);
        assert!(
            matches!(modern.translate(&request), Relayed::Refuse(body) if body.starts_with(b"{\"jsonrpc\""))
        );
        let log = bytes(r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#);
        assert_eq!(modern.translate(&log), Relayed::Message(log.clone()));
        let quiet = Translation {
            logs: false,
            ..legacy()
        };
        assert_eq!(quiet.translate(&log), Relayed::Drop);
        let changed = bytes(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
        assert_eq!(modern.translate(&changed), Relayed::Drop);
    }

    #[test]
    fn forged_answers_name_nothing() {
        for id in ["5", "\"x\"", "\"up/\"", "\"up/{}\"", "\"up/[1]\""] {
            assert_eq!(upstream_of(id), None, "{id}");
        }
    }
}
