//! Where a request holds a sealed handle: a task's id, or the state of a
//! multi-round-trip result.

use hexagram_core::{Era, Purpose};

use serde_json::{Value, json};

use crate::envelope::Envelope;
use crate::error::Problem;

/// The extension of SEP-2663.
const TASKS: &str = "io.modelcontextprotocol/tasks";

/// The token that a request holds, and what it was sealed for.
#[must_use]
pub fn of<'a>(envelope: &'a Envelope<'_>) -> Option<(Purpose, &'a str)> {
    let method = envelope.method.as_deref()?;
    if method.starts_with("tasks/") {
        return Some((Purpose::Task, envelope.name.as_deref()?));
    }
    Some((Purpose::RequestState, envelope.request_state.as_deref()?))
}

/// The refusal of a handle that is forged, expired, another principal's or
/// another request's: which of these it is, is nobody's business. What a server
/// of tasks judges before it looks for one comes first. `era` is the client's.
#[must_use]
pub fn unknown(envelope: &Envelope<'_>, era: Era) -> Problem {
    let method = envelope.method.as_deref().unwrap_or_default();
    let is_known = match era {
        Era::Legacy => matches!(method, "tasks/get" | "tasks/result" | "tasks/cancel"),
        Era::Modern => matches!(method, "tasks/get" | "tasks/update" | "tasks/cancel"),
    };
    match method {
        _ if is_known && era == Era::Modern && !declares_tasks(envelope) => {
            Problem::MissingClientCapability {
                required: json!({"extensions": {TASKS: {}}}),
            }
        }
        _ if is_known => Problem::InvalidParams {
            detail: "unknown taskId: it may have expired; call the tool again".to_owned(),
        },
        _ if method.starts_with("tasks/") => Problem::MethodNotFound {
            method: method.to_owned(),
        },
        _ => Problem::InvalidParams {
            detail: "requestState is none of this request, or has expired; repeat the request without it".to_owned(),
        },
    }
}

fn declares_tasks(envelope: &Envelope<'_>) -> bool {
    let declared = envelope.meta.client_capabilities;
    let declared: Option<Value> = declared.and_then(|raw| serde_json::from_slice(raw).ok());
    declared.is_some_and(|declared| declared["extensions"][TASKS].is_object())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::scan;

    #[test]
    fn handles_are_found_where_they_belong() {
        let task = br#"{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"t","requestState":"s"}}"#;
        let task = scan(task).expect("an envelope");
        assert_eq!(of(&task), Some((Purpose::Task, "t")));
        let call = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"taskId":"t","requestState":"s"}}"#;
        let call = scan(call).expect("an envelope");
        assert_eq!(of(&call), Some((Purpose::RequestState, "s")));
        let plain =
            br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"requestState":7}}"#;
        assert_eq!(of(&scan(plain).expect("an envelope")), None);
    }

    #[test]
    fn what_comes_before_an_unknown_task_is_said_first() {
        let refused_in = |era, method: &str, capabilities: &str| {
            let meta =
                format!(r#"{{"io.modelcontextprotocol/clientCapabilities":{capabilities}}}"#);
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"taskId":"t","_meta":{meta}}}}}"#
            );
            unknown(&scan(body.as_bytes()).expect("an envelope"), era).code()
        };
        let refused = |method, capabilities| refused_in(Era::Modern, method, capabilities);
        let declared = r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;
        assert_eq!(refused("tasks/get", declared), -32602);
        assert_eq!(refused("tasks/get", "{}"), -32021);
        assert_eq!(refused("tasks/result", declared), -32601);
        assert_eq!(refused("tools/call", "{}"), -32602);
        assert_eq!(refused_in(Era::Legacy, "tasks/result", "{}"), -32602);
        assert_eq!(refused_in(Era::Legacy, "tasks/update", "{}"), -32601);
    }
}
