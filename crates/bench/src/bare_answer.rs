//! What the bare server answers: as little as a client of either era needs.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::era::Era;
use crate::message::LEGACY_VERSION;

/// What to send back for one body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BareAnswer {
    /// An answer to a request.
    Json(Vec<u8>),
    /// The answer to `initialize`, which starts a session.
    Session(Vec<u8>),
    /// A notification was taken.
    Accepted,
    /// The body is no JSON-RPC message.
    Malformed,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    params: Option<Params<'a>>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    arguments: Option<Arguments<'a>>,
    #[serde(rename = "_meta")]
    meta: Option<IgnoredAny>,
}

/// The text stays raw, quotes and escapes included: it goes back as it came.
#[derive(Deserialize)]
struct Arguments<'a> {
    #[serde(borrow, alias = "text")]
    message: &'a RawValue,
}

/// Answers one POST body.
pub(crate) fn answer(body: &[u8]) -> BareAnswer {
    let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(body) else {
        return BareAnswer::Malformed;
    };
    let Some(id) = envelope.id else {
        return BareAnswer::Accepted;
    };
    let era = match envelope.params.as_ref().and_then(|it| it.meta.as_ref()) {
        Some(_) => Era::Modern,
        None => Era::Legacy,
    };
    let arguments = envelope.params.and_then(|params| params.arguments);
    match (&*envelope.method, arguments) {
        ("tools/call", Some(echo)) => BareAnswer::Json(echoed(id, echo.message, era)),
        ("initialize", _) => BareAnswer::Session(initialized(id)),
        _ => BareAnswer::Json(unknown(id)),
    }
}

/// The same bytes as the echo of Hexagram's built-in demo server.
fn echoed(id: &RawValue, message: &RawValue, era: Era) -> Vec<u8> {
    let result_type = match era {
        Era::Legacy => "",
        Era::Modern => r#","resultType":"complete""#,
    };
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":{message}}}]{result_type}}}}}"#
    )
    .into_bytes()
}

fn initialized(id: &RawValue) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"protocolVersion":"{LEGACY_VERSION}","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"bare","version":"{version}"}}}}}}"#
    )
    .into_bytes()
}

fn unknown(id: &RawValue) -> Vec<u8> {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"the bare server only knows initialize and tools/call"}}}}"#
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn json_of(message: &Value) -> Value {
        match answer(message.to_string().as_bytes()) {
            BareAnswer::Json(body) => serde_json::from_slice(&body).expect("JSON"),
            other => panic!("no JSON answer: {other:?}"),
        }
    }

    #[test]
    fn an_echo_keeps_id_and_text_as_they_are() {
        let params = json!({"name": "echo", "arguments": {"message": "a \"b\"\n"}});
        let call = json!({"jsonrpc": "2.0", "id": "x1", "method": "tools/call", "params": params});
        let expected = json!({"content": [{"type": "text", "text": "a \"b\"\n"}]});
        let answered = json_of(&call);
        assert_eq!(
            (&answered["id"], &answered["result"]),
            (&json!("x1"), &expected)
        );
    }

    #[test]
    fn a_modern_result_has_its_type() {
        let params = json!({"arguments": {"text": "hi"}, "_meta": {}});
        let call = json!({"id": 1, "method": "tools/call", "params": params});
        assert_eq!(json_of(&call)["result"]["resultType"], "complete");
    }

    #[test]
    fn everything_else_is_minimal() {
        assert_eq!(answer(b"{"), BareAnswer::Malformed);
        assert_eq!(
            answer(br#"{"method":"notifications/initialized"}"#),
            BareAnswer::Accepted
        );
        let initialize = br#"{"id":0,"method":"initialize","params":{"capabilities":{}}}"#;
        assert!(matches!(answer(initialize), BareAnswer::Session(_)));
        let list = json!({"id": 1, "method": "tools/list"});
        assert_eq!(json_of(&list)["error"]["code"], -32601);
    }
}
