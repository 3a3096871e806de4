//! `subscriptions/listen`: opened, acknowledged, and left again.

use hexagram_mcp::envelope::scan;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::speaker::{Modern, VERSION, compose};
use crate::check::failure::Failure;
use crate::check::incoming::Incoming;
use crate::check::notes::{Notes, Rule};
use crate::check::reply::{Message, quoted, response};

const METHOD: &str = "subscriptions/listen";
const FEATURE: &str = "subscriptions_listen";

const ACKNOWLEDGED: Rule = Rule {
    feature: FEATURE,
    sent: METHOD,
    wanted: "notifications/subscriptions/acknowledged as the first message",
};

/// Listens to the changes of lists that the server declares, until it is
/// acknowledged. Leaving the stream cancels it.
pub(super) async fn probe(modern: &Modern<'_>, capabilities: &Value, notes: &mut Notes) {
    let id = modern.client.new_id();
    let params = json!({ "notifications": filter(capabilities) });
    let opened = modern
        .client
        .open(compose(id, VERSION, METHOD, params))
        .await;
    let first = match opened {
        Ok(mut incoming) => first_message(&mut incoming, id).await,
        Err(failure) => Err(failure),
    };
    match first {
        Ok(First::Acknowledged) => notes.feature(FEATURE, Some(true), "acknowledged"),
        Ok(First::Refused(said)) => notes.feature(FEATURE, Some(false), said),
        Ok(First::Other(said)) => {
            notes.feature(FEATURE, Some(false), said.as_str());
            notes.broken(&ACKNOWLEDGED, said);
        }
        Err(failure) => notes.feature(FEATURE, None, failure.to_string()),
    }
}

/// What a subscription begins with.
#[derive(Debug, PartialEq)]
enum First {
    Acknowledged,
    /// Not offered.
    Refused(String),
    Other(String),
}

async fn first_message(incoming: &mut Incoming, id: u64) -> Result<First, Failure> {
    loop {
        let Some(event) = incoming.next().await? else {
            let said = format!("HTTP {} and no message", incoming.status.as_u16());
            return Ok(First::Other(said));
        };
        if !event.data.is_empty() || !incoming.is_stream() {
            return Ok(judge(incoming.status, &event.data, id));
        }
    }
}

fn judge(status: StatusCode, data: &[u8], id: u64) -> First {
    let method = scan(data).ok().and_then(|envelope| envelope.method);
    if method.as_deref() == Some("notifications/subscriptions/acknowledged") {
        return First::Acknowledged;
    }
    let status = status.as_u16();
    match response(data, id) {
        Some(Message::Error(error)) => {
            let said = quoted(&error.message);
            First::Refused(format!("HTTP {status}, {} {said}", error.code))
        }
        _ => {
            let said = quoted(&String::from_utf8_lossy(data));
            First::Other(format!("HTTP {status}: {said}"))
        }
    }
}

/// The kinds of change that the server declares.
fn filter(capabilities: &Value) -> Value {
    let mut filter = json!({});
    for (list, change) in [
        ("tools", "toolsListChanged"),
        ("prompts", "promptsListChanged"),
        ("resources", "resourcesListChanged"),
    ] {
        if capabilities[list]["listChanged"] == true {
            filter[change] = json!(true);
        }
    }
    filter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_declared_changes_are_listened_to() {
        let capabilities = json!({"tools": {"listChanged": true}, "prompts": {}});
        assert_eq!(filter(&capabilities), json!({"toolsListChanged": true}));
    }

    #[test]
    fn the_first_message_decides() {
        let judge = |data: &str| judge(StatusCode::OK, data.as_bytes(), 1);
        let acknowledged =
            r#"{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged"}"#;
        assert_eq!(judge(acknowledged), First::Acknowledged);
        let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"none"}}"#;
        assert_eq!(
            judge(error),
            First::Refused("HTTP 200, -32601 none".to_owned())
        );
        let changed = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
        assert!(matches!(judge(changed), First::Other(_)));
    }
}
