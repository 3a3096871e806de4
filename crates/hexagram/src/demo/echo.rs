//! A server with one tool, `echo`, on the raw message: the least that a
//! handler can do, so that a measurement shows what Hexagram costs.

use hexagram_mcp::error::Problem;
use hexagram_worker::{NativeHandler, NativeRequest, ServerInfo};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

/// Answers `tools/call echo` with its argument.
pub(crate) struct Echo;

#[derive(Deserialize)]
struct Params<'a> {
    name: &'a str,
    #[serde(borrow)]
    arguments: Arguments<'a>,
}

#[derive(Deserialize)]
struct Arguments<'a> {
    // Stays raw: it goes back as it came, escapes included.
    #[serde(borrow)]
    message: &'a RawValue,
}

impl NativeHandler for Echo {
    fn info(&self) -> ServerInfo {
        ServerInfo {
            capabilities: json!({"tools": {}}),
            server_info: json!({"name": "hexagram-echo", "version": env!("CARGO_PKG_VERSION")}),
            instructions: None,
        }
    }

    fn handle(&self, request: &NativeRequest<'_>) -> Result<Vec<u8>, Problem> {
        match request.method {
            "tools/call" => call(request.params.unwrap_or(b"{}")),
            "tools/list" => Ok(tools().to_string().into_bytes()),
            method => Err(Problem::MethodNotFound {
                method: method.to_owned(),
            }),
        }
    }
}

fn call(params: &[u8]) -> Result<Vec<u8>, Problem> {
    let params: Params<'_> =
        serde_json::from_slice(params).map_err(|error| invalid(error.to_string()))?;
    let message = params.arguments.message.get();
    if params.name != "echo" {
        return Err(invalid(format!(
            "there is no tool {:?}, only echo",
            params.name
        )));
    }
    if !message.starts_with('"') {
        return Err(invalid("message must be a string".to_owned()));
    }
    Ok([r#"{"content":[{"type":"text","text":"#, message, "}]}"]
        .concat()
        .into_bytes())
}

fn invalid(detail: String) -> Problem {
    Problem::InvalidParams { detail }
}

fn tools() -> serde_json::Value {
    json!({"tools": [{
        "name": "echo",
        "description": "Answers with its message.",
        "annotations": {"readOnlyHint": true},
        "inputSchema": {
            "type": "object",
            "properties": {"message": {"type": "string"}},
            "required": ["message"],
        },
    }]})
}

#[cfg(test)]
mod tests {
    use super::*;
    use hexagram_core::ProtocolVersion;

    fn ask(method: &str, params: &str) -> Result<String, Problem> {
        let request = NativeRequest {
            method,
            params: Some(params.as_bytes()),
            version: ProtocolVersion::LATEST,
        };
        Echo.handle(&request)
            .map(|result| String::from_utf8(result).expect("text"))
    }

    #[test]
    fn echoes_raw_text() {
        let params = r#"{"name":"echo","arguments":{"message":"a\"\u00e9"}}"#;
        let expected = r#"{"content":[{"type":"text","text":"a\"\u00e9"}]}"#;
        assert_eq!(ask("tools/call", params).ok().as_deref(), Some(expected));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert!(matches!(
            ask("tools/call", r#"{"name":"x","arguments":{"message":""}}"#),
            Err(Problem::InvalidParams { .. })
        ));
        assert!(matches!(
            ask("tools/call", r#"{"name":"echo","arguments":{"message":1}}"#),
            Err(Problem::InvalidParams { .. })
        ));
        assert!(matches!(
            ask("tools/call", "{}"),
            Err(Problem::InvalidParams { .. })
        ));
        assert!(matches!(
            ask("prompts/list", "{}"),
            Err(Problem::MethodNotFound { .. })
        ));
    }
}
