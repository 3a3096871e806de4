//! What Hexagram itself answers to an upstream whose request no client reads:
//! an upstream that gets no answer waits forever.

use bytes::Bytes;
use hexagram_mcp::envelope::Envelope;
use serde_json::json;

/// JSON-RPC's "internal error": the one code every peer takes as "not now"
/// rather than "never" (-32601) or "the connection is closed" (-32000 in SDKs).
const NOT_NOW: i32 = -32603;

/// The answer to a request; none to what wants no answer.
pub(crate) fn answer(envelope: &Envelope<'_>) -> Option<Bytes> {
    let method = envelope.method.as_deref()?;
    let id = envelope.id.as_ref()?.as_str();
    // A ping asks whether we are there, and we are.
    let outcome = if method == "ping" {
        r#""result":{}"#.to_owned()
    } else {
        let error = json!({
            "code": NOT_NOW,
            "message": format!("no client reads {method} now; ask while a client's call runs"),
        });
        format!(r#""error":{error}"#)
    };
    Some(Bytes::from(format!(
        r#"{{"jsonrpc":"2.0","id":{id},{outcome}}}"#
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hexagram_mcp::envelope::scan;

    fn answer_to(message: &str) -> Option<serde_json::Value> {
        let answer = answer(&scan(message.as_bytes()).expect("an envelope"))?;
        Some(serde_json::from_slice(&answer).expect("JSON"))
    }

    #[test]
    fn requests_get_an_error_and_pings_a_result() {
        let asked = answer_to(r#"{"jsonrpc":"2.0","id":"a\"b","method":"roots/list"}"#);
        let asked = asked.expect("an answer");
        assert_eq!(asked["id"], "a\"b");
        assert_eq!(asked["error"]["code"], NOT_NOW);
        let ping = answer_to(r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#);
        assert_eq!(ping, Some(json!({"jsonrpc": "2.0", "id": 7, "result": {}})));
    }

    #[test]
    fn the_rest_wants_no_answer() {
        let rest = [
            r#"{"jsonrpc":"2.0","method":"notifications/message"}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        ];
        for message in rest {
            assert_eq!(answer_to(message), None, "{message}");
        }
    }
}
