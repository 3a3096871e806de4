//! The log levels of the legacy era.

use hexagram_mcp::envelope::Envelope;
use hexagram_mcp::error::Problem;

use crate::raw::RawObject;

/// From the least to the most urgent (RFC 5424).
const LEVELS: [&str; 8] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];

/// The log level that a `logging/setLevel` names, if it is one.
pub(crate) fn level(envelope: &Envelope<'_>) -> Option<String> {
    let level = RawObject::parse(envelope.params?)?.text("level")?;
    is_level(&level).then_some(level)
}

/// Whether the protocol has a log level of this name.
pub(crate) fn is_level(name: &str) -> bool {
    LEVELS.contains(&name)
}

/// The refusal of a log level that is none.
pub(crate) fn bad_level() -> Problem {
    let levels = LEVELS.join(", ");
    Problem::InvalidParams {
        detail: format!("level must be one of {levels}"),
    }
}

#[cfg(test)]
mod tests {
    use hexagram_mcp::envelope::scan;

    use super::*;

    #[test]
    fn only_a_level_of_the_protocol_is_one() {
        let level_of = |params: &str| {
            let request =
                format!(r#"{{"jsonrpc":"2.0","id":1,"method":"logging/setLevel"{params}}}"#);
            level(&scan(request.as_bytes()).expect("a request"))
        };
        for known in ["debug", "warning", "emergency"] {
            let params = format!(r#","params":{{"level":"{known}","x":1}}"#);
            assert_eq!(level_of(&params).as_deref(), Some(known));
        }
        for params in [
            "",
            r#","params":{}"#,
            r#","params":{"level":"loud"}"#,
            r#","params":{"level":"DEBUG"}"#,
            r#","params":{"level":3}"#,
            r#","params":{"level":null}"#,
        ] {
            assert_eq!(level_of(params), None, "{params}");
        }
    }
}
