//! The ways a call can fail, as kinds that can be counted.

use std::cmp::Ordering;
use std::fmt;
use std::io;

/// `EMFILE` on Linux: this process has no file descriptor left.
const TOO_MANY_OPEN_FILES: i32 = 24;

/// Of what a server says, so many characters are shown.
const LONGEST_SAID: usize = 300;

/// Why a call counts as an error.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Failure {
    /// No connection, or it ended before anything of a reply came.
    #[error("{0}")]
    Connection(String),
    /// The connection broke in the middle of a reply.
    #[error("the reply broke off: {0}")]
    Broken(String),
    /// The server refused: HTTP status, and the JSON-RPC code if the body has one.
    #[error(
        "HTTP {status}{}{}{said}{}",
        .code.map(|code| format!(", JSON-RPC {code}")).unwrap_or_default(),
        .reason.as_ref().map(|reason| format!(" {reason}")).unwrap_or_default(),
        hint(*.status, *.code)
    )]
    Refused {
        /// HTTP status; 200 when only the JSON-RPC answer is an error.
        status: u16,
        /// JSON-RPC error code.
        code: Option<i64>,
        /// The error's `data.reason`, a word for machines that some servers give.
        reason: Option<String>,
        /// What it said to people.
        said: Said,
    },
    /// The body is neither a JSON-RPC answer nor an event stream with one.
    #[error("the reply is no JSON-RPC answer; is --url an MCP endpoint?")]
    NoAnswer,
    /// The answer is to another call.
    #[error("the answer has a wrong id")]
    WrongId,
    /// The answer does not contain the text that was sent.
    #[error(
        "the answer lacks the text that was sent{0}; name a tool that echoes with --tool and --argument"
    )]
    WrongText(Said),
    /// The tool was called and says that it failed (`isError`).
    #[error("the tool's result is an error{0}")]
    ToolError(Said),
    /// No answer within the grace after the end of the run.
    #[error("no answer in time")]
    TimedOut,
}

/// What a server said about a failure, shown after it. It is no part of the
/// kind: failures are counted together whatever was said, and the first stands
/// for all.
#[derive(Debug, Clone, Default)]
pub struct Said(Option<String>);

impl Said {
    /// The beginning of a text, on one line; nothing of an empty one.
    pub(crate) fn new(text: &str) -> Self {
        let words: Vec<_> = text.split_whitespace().collect();
        let line: String = words.join(" ").chars().take(LONGEST_SAID).collect();
        Self((!line.is_empty()).then_some(line))
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(text) => write!(f, ": {text}"),
            None => Ok(()),
        }
    }
}

impl PartialEq for Said {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Said {}

impl PartialOrd for Said {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Said {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}

/// What to do about a refusal, where bench knows better than the server.
fn hint(status: u16, code: Option<i64>) -> &'static str {
    match (status, code) {
        (401 | 403, _) => "; give what the server asks for with --header 'Name: value'",
        (404, None) => "; check the path of --url",
        _ => "",
    }
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
        matches!(self, Self::Connection(_) | Self::Broken(_))
    }

    /// Whether nothing of a reply came, so that another connection may serve better.
    pub(crate) fn is_unheard(&self) -> bool {
        matches!(self, Self::Connection(_))
    }

    /// Whether the server no longer knows the session (MCP: 404, initialize again).
    pub(crate) fn is_session_lost(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        match error.is_parse() {
            true => Self::Broken(error.to_string()),
            false => Self::Connection(error.to_string()),
        }
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
        let text = |status, code, said| {
            let said = Said::new(said);
            let reason = None;
            Failure::Refused {
                status,
                code,
                reason,
                said,
            }
            .to_string()
        };
        assert_eq!(text(503, Some(-32011), ""), "HTTP 503, JSON-RPC -32011");
        assert_eq!(text(502, None, " bad\n gateway"), "HTTP 502: bad gateway");
        assert!(text(401, None, "").contains("--header"));
        assert!(text(500, None, &"x".repeat(2000)).len() < 400);
    }

    #[test]
    fn what_was_said_makes_no_other_kind() {
        let wrong = |said| Failure::WrongText(Said::new(said));
        assert_eq!(wrong("a"), wrong("b"));
        assert!(wrong("a") <= wrong("b") && wrong("b") <= wrong("a"));
        assert_ne!(wrong("a"), Failure::WrongId);
    }
}
