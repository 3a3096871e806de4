//! What can go wrong with an upstream, and what its client is told of it.

use std::time::Duration;

use bytes::Bytes;
use hexagram_mcp::error::Problem;
use serde_json::Value;

/// Why an upstream could not be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UpstreamError {
    /// It cannot be reached or started.
    #[error("{0}")]
    Unreachable(String),
    /// It does not know our session any more (HTTP 404).
    #[error("the upstream has forgotten its session")]
    SessionGone,
    /// It broke off after it had the request: the outcome is unknown.
    #[error("{0}")]
    Broken(String),
    /// It answered an HTTP error.
    #[error("the upstream answered HTTP {status}: {detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// JSON-RPC's code, where the body is an error of that.
        code: Option<i64>,
        /// The beginning of the body.
        detail: String,
    },
    /// It answered an HTTP error whose body is a JSON-RPC response.
    #[error("the upstream refused the message")]
    Answered(Bytes),
    /// It answered what is not MCP.
    #[error("the upstream answered what is not MCP: {0}")]
    Garbage(String),
    /// It answered its first message with a JSON-RPC error.
    #[error("{method}: {message} (error {code})")]
    Denied {
        /// The message's method.
        method: &'static str,
        /// JSON-RPC's code.
        code: i64,
        /// Its own words.
        message: String,
    },
    /// It sent nothing for too long.
    #[error("the upstream sent nothing for {} s", .0.as_secs())]
    Silent(Duration),
    /// It sent more than its client takes.
    #[error("the client does not read; read the reply's stream as it comes")]
    TooSlow,
    /// It does not speak the era that its settings say it does.
    #[error(
        "it does not speak {told}, which its setting `era` says it does (auto finds out): {why}"
    )]
    OtherEra {
        /// The setting.
        told: &'static str,
        /// What it answered.
        why: String,
    },
    /// It was taken out of the configuration.
    #[error("the upstream is not served any more; ask for the lists again")]
    Removed,
    /// Too many children run already.
    #[error("{0} stdio children run already; raise --max-children or use an HTTP upstream")]
    TooManyChildren(usize),
}

impl UpstreamError {
    /// All that [`Self::kind`] may say.
    pub(crate) const KINDS: [&str; 11] = [
        "unreachable",
        "session_gone",
        "broken",
        "refused",
        "answered",
        "garbage",
        "silent",
        "too_slow",
        "too_many_children",
        "removed",
        "other_era",
    ];

    /// The error that a response to `method` has in place of a result.
    pub(super) fn denied(method: &'static str, response: &Value) -> Option<Self> {
        let error = &response["error"];
        let message = error["message"].as_str().unwrap_or("no message");
        Some(Self::Denied {
            method,
            code: error["code"].as_i64()?,
            message: message.to_owned(),
        })
    }

    /// A stable word for machines: the label in metrics.
    pub(crate) fn kind(&self) -> &'static str {
        let place = match self {
            Self::Unreachable(_) => 0,
            Self::SessionGone => 1,
            Self::Broken(_) => 2,
            Self::Refused { .. } => 3,
            Self::Answered(_) => 4,
            Self::Garbage(_) | Self::Denied { .. } => 5,
            Self::Silent(_) => 6,
            Self::TooSlow => 7,
            Self::TooManyChildren(_) => 8,
            Self::Removed => 9,
            Self::OtherEra { .. } => 10,
        };
        Self::KINDS[place]
    }

    /// Whether nobody gets an answer from an upstream that fails so.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::Broken(_)
            | Self::Garbage(_)
            | Self::Denied { .. }
            | Self::Silent(_)
            | Self::OtherEra { .. } => true,
            Self::Refused { status, .. } => *status >= 500,
            Self::SessionGone
            | Self::Answered(_)
            | Self::TooSlow
            | Self::TooManyChildren(_)
            | Self::Removed => false,
        }
    }

    /// Whether a request that failed so may have reached the upstream and
    /// taken effect there.
    pub(crate) fn may_have_acted(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::SessionGone
            | Self::Answered(_)
            | Self::Denied { .. }
            | Self::TooManyChildren(_)
            | Self::OtherEra { .. }
            | Self::Removed => false,
            // What is redirected or refused was not done; 503 says "not now".
            Self::Refused { status, .. } => *status >= 500 && *status != 503,
            Self::Broken(_) | Self::Garbage(_) | Self::Silent(_) | Self::TooSlow => true,
        }
    }

    /// The error a client sees. `had_request` says whether a request with
    /// effects was on its way when it failed.
    pub(crate) fn problem(&self, upstream: &str, had_request: bool) -> Problem {
        let detail = self.to_string();
        if had_request && self.may_have_acted() {
            return Problem::OutcomeUnknown {
                detail: format!("upstream {upstream}: {detail}"),
                upstream: Some(upstream.to_owned()),
            };
        }
        Problem::UpstreamUnavailable {
            upstream: upstream.to_owned(),
            detail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16) -> UpstreamError {
        UpstreamError::Refused {
            status,
            code: None,
            detail: String::new(),
        }
    }

    #[test]
    fn only_what_cannot_have_acted_is_safe_to_repeat() {
        let harmless = [
            UpstreamError::Unreachable(String::new()),
            UpstreamError::SessionGone,
            UpstreamError::TooManyChildren(1),
            UpstreamError::Removed,
            UpstreamError::Denied {
                method: "initialize",
                code: -32603,
                message: String::new(),
            },
            UpstreamError::OtherEra {
                told: "legacy",
                why: String::new(),
            },
            refused(307),
            refused(404),
            refused(503),
        ];
        let doubtful = [
            UpstreamError::Broken(String::new()),
            UpstreamError::Garbage(String::new()),
            UpstreamError::Silent(Duration::ZERO),
            UpstreamError::TooSlow,
            refused(500),
            refused(504),
        ];
        assert!(harmless.iter().all(|error| !error.may_have_acted()));
        assert!(doubtful.iter().all(UpstreamError::may_have_acted));
    }

    #[test]
    fn an_unknown_outcome_names_its_upstream() {
        let broken = UpstreamError::Broken("reset".to_owned());
        assert_eq!(
            broken.problem("up", true),
            Problem::OutcomeUnknown {
                detail: "upstream up: reset".to_owned(),
                upstream: Some("up".to_owned()),
            }
        );
        assert_eq!(broken.problem("up", false).reason(), "upstream_unavailable");
        let gone = UpstreamError::SessionGone.problem("up", true);
        assert_eq!(gone.reason(), "upstream_unavailable");
    }
}
