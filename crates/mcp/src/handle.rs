//! Where a modern request holds a sealed handle: a task's id, or the state of a
//! multi-round-trip result.

use hexagram_core::Purpose;

use crate::envelope::Envelope;
use crate::error::Problem;

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
/// another request's: which of these it is, is nobody's business.
#[must_use]
pub fn unknown(purpose: Purpose) -> Problem {
    let detail = match purpose {
        Purpose::Task => "unknown taskId: it may have expired; call the tool again",
        _ => "requestState is none of this request, or has expired; repeat the request without it",
    };
    Problem::InvalidParams {
        detail: detail.to_owned(),
    }
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
}
