//! What passes between clients and a handler whose tasks nobody would find
//! again: no word of tasks. "Durable before the reply" (SEP-2663) is more than
//! the memory of one of many processes can promise.

use bytes::Bytes;
use hexagram_core::Era;
use hexagram_mcp::envelope::scan;
use hexagram_mcp::error::Problem;

use super::ServerInfo;
use super::tasks_offer::{EXTENSION, withdraw};
use crate::raw::RawObject;

/// Where a modern request says what its client can.
const CLIENT: &str = "io.modelcontextprotocol/clientCapabilities";

/// The handler's description without tasks.
pub(super) fn described(mut info: ServerInfo) -> ServerInfo {
    withdraw(Era::Legacy, &mut info.capabilities);
    withdraw(Era::Modern, &mut info.capabilities);
    info
}

/// A client's message as one that knows no tasks would have sent it: the handler
/// answers without one, or says that it cannot.
///
/// # Errors
/// The answer to a request that a server without tasks does not know.
pub(super) fn heard(message: Bytes) -> Result<Bytes, Bytes> {
    let Ok(envelope) = scan(&message) else {
        return Ok(message);
    };
    let method = envelope.method.as_deref().unwrap_or_default();
    if let Some(id) = envelope.id.filter(|_| method.starts_with("tasks/")) {
        let problem = Problem::MethodNotFound {
            method: method.to_owned(),
        };
        return Err(problem.body(Some(id.as_str())));
    }
    let declared = envelope.meta.client_capabilities.unwrap_or_default();
    if memchr::memmem::find(declared, EXTENSION.as_bytes()).is_none() {
        return Ok(message);
    }
    let Some(mut object) = RawObject::parse(&message) else {
        return Ok(message);
    };
    object.edit("params", |params| {
        params.edit("_meta", |meta| {
            meta.edit(CLIENT, |declared| {
                declared.edit("extensions", |extensions| extensions.remove(EXTENSION));
            });
        });
    });
    Ok(serde_json::to_vec(&object).map_or(message, Bytes::from))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn tasks_are_not_offered() {
        let info = described(ServerInfo {
            capabilities: json!({
                "tools": {},
                "tasks": {"list": {}},
                "extensions": {EXTENSION: {}, "other": {}},
            }),
            server_info: Value::Null,
            instructions: None,
        });
        let left = json!({"tools": {}, "extensions": {"other": {}}});
        assert_eq!(info.capabilities, left);
    }

    #[test]
    fn a_handler_is_not_told_that_its_client_knows_tasks() {
        let call = |extensions: &Value| {
            let meta = json!({CLIENT: {"extensions": extensions, "sampling": {}}});
            let params = json!({"name": "x", "_meta": meta});
            json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
        };
        let told = call(&json!({EXTENSION: {}, "other": {}})).to_string();
        let heard = heard(Bytes::from(told)).expect("a call");
        let heard: Value = serde_json::from_slice(&heard).expect("JSON");
        assert_eq!(heard, call(&json!({"other": {}})));
    }

    #[test]
    fn requests_for_tasks_are_unknown_and_all_else_is_as_it_was() {
        let get = r#"{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"t"}}"#;
        let refused = heard(Bytes::from(get)).expect_err("no such method");
        assert!(memchr::memmem::find(&refused, b"-32601").is_some());
        for other in [
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            "no message",
        ] {
            assert_eq!(heard(Bytes::from(other)), Ok(Bytes::from(other)));
        }
    }
}
