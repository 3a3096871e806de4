//! The ways a call can fail, as kinds that can be counted.

use std::io;

/// `EMFILE` on Linux: this process has no file descriptor left.
const TOO_MANY_OPEN_FILES: i32 = 24;

/// Why a call counts as an error.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Failure {
    /// No connection, or it broke before the answer was complete.
    #[error("{0}")]
    Connection(String),
    /// The server refused: HTTP status, and the JSON-RPC code if the body has one.
    #[error("HTTP {status}{}", .code.map(|code| format!(", JSON-RPC {code}")).unwrap_or_default())]
    Refused {
        /// HTTP status; 200 when only the JSON-RPC answer is an error.
        status: u16,
        /// JSON-RPC error code.
        code: Option<i64>,
    },
    /// The body is neither a JSON-RPC answer nor an event stream with one.
    #[error("the reply is no JSON-RPC answer")]
    NoAnswer,
    /// The answer is to another call.
    #[error("the answer has a wrong id")]
    WrongId,
    /// The answer does not contain the text that was sent.
    #[error("the answer lacks the text that was sent")]
    WrongText,
    /// No answer within the grace after the end of the run.
    #[error("no answer in time")]
    TimedOut,
}

impl Failure {
    /// A connection to `url` that could not be opened: the cause and what to do.
    pub(crate) fn connect(url: &str, error: &io::Error) -> Self {
        let hint = match (error.kind(), error.raw_os_error()) {
            (_, Some(TOO_MANY_OPEN_FILES)) => {
                "raise the limit of open files in this shell, e.g. `ulimit -n 65536`"
            }
            (io::ErrorKind::ConnectionRefused, _) => {
                "start the server there (`hexagram local`), or name another with --url"
            }
            (io::ErrorKind::ConnectionReset, _) => {
                "the server may be out of file descriptors: raise `ulimit -n` where it was started"
            }
            _ => "check --url",
        };
        Self::Connection(format!("cannot connect to {url}: {error}; {hint}"))
    }

    /// Whether there may be no server at all, so that asking again at once is useless.
    pub(crate) fn is_connection(&self) -> bool {
        matches!(self, Self::Connection(_))
    }

    /// Whether the server no longer knows the session (MCP: 404, initialize again).
    pub(crate) fn is_session_lost(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        Self::Connection(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_failures_name_the_url_and_the_fix() {
        let text = |error: io::Error| Failure::connect("http://x/mcp", &error).to_string();
        let refused = text(io::ErrorKind::ConnectionRefused.into());
        assert!(refused.contains("http://x/mcp") && refused.contains("hexagram local"));
        assert!(text(io::Error::from_raw_os_error(24)).contains("ulimit -n"));
        assert!(text(io::ErrorKind::TimedOut.into()).contains("--url"));
    }

    #[test]
    fn refusals_show_both_codes() {
        let text = |status, code| Failure::Refused { status, code }.to_string();
        assert_eq!(text(503, Some(-32011)), "HTTP 503, JSON-RPC -32011");
        assert_eq!(text(502, None), "HTTP 502");
    }
}
