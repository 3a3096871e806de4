//! Why a request has no answer to judge, and what an error says beneath its surface.

use std::time::Duration;

/// Of one answer, this many bytes are read.
pub(super) const MAX_ANSWER: usize = 4 << 20;

/// No answer to judge.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// Nobody listens there, nobody is let in, or the name is unknown.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// The connection is neither taken nor refused: firewalls drop what they do not let in.
    #[error("no connection: nobody took it in time")]
    Ignored,
    /// The encrypted connection was not agreed on.
    #[error("no TLS connection: {0}")]
    Tls(String),
    /// Not even a status came.
    #[error("no answer within {0:.1?}")]
    Silent(Duration),
    /// An answer began and went on and on.
    #[error("the answer had not ended after {0:.1?}")]
    Endless(Duration),
    /// An answer larger than [`MAX_ANSWER`].
    #[error("the answer is larger than {} MiB", MAX_ANSWER >> 20)]
    TooLarge,
    /// The connection was lost, or what came is no HTTP.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The whole check has taken its time.
    #[error("not tried: the time of --timeout was over")]
    OutOfTime,
}

impl Failure {
    /// Whether somebody took the connection.
    pub(super) fn is_connected(&self) -> bool {
        !matches!(self, Self::Unreachable(_) | Self::Ignored | Self::OutOfTime)
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        let (is_connect, is_late) = (error.is_connect(), error.is_timeout());
        // The URL may hold a password.
        let causes = causes(&error.without_url());
        match is_connect {
            true if is_late => Self::Ignored,
            true if is_tls(&causes) => Self::Tls(causes),
            true => Self::Unreachable(causes),
            false => Self::Broken(causes),
        }
    }
}

/// reqwest has no kind of its own for it.
fn is_tls(causes: &str) -> bool {
    let causes = causes.to_lowercase();
    ["certificate", "tls", "handshake", "corrupt message"]
        .iter()
        .any(|word| causes.contains(word))
}

/// The innermost causes: the outer ones only say that a request failed, and so
/// does hyper's "client error (Connect)".
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let mut causes: Vec<_> = chain.map(ToString::to_string).collect();
    causes.dedup();
    causes.retain(|cause| !cause.starts_with("client error"));
    let outer = causes.len().saturating_sub(2);
    causes.split_off(outer).join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_told_apart_by_its_words() {
        assert!(is_tls("invalid peer certificate: UnknownIssuer"));
        assert!(is_tls(
            "received corrupt message of type InvalidContentType"
        ));
        assert!(!is_tls(
            "tcp connect error: Connection refused (os error 111)"
        ));
    }

    #[test]
    fn who_is_silent_took_the_connection() {
        let text = || "cause".to_owned();
        for (failure, is_connected) in [
            (Failure::Unreachable(text()), false),
            (Failure::Ignored, false),
            (Failure::OutOfTime, false),
            (Failure::Tls(text()), true),
            (Failure::Silent(Duration::ZERO), true),
            (Failure::Broken(text()), true),
        ] {
            assert_eq!(failure.is_connected(), is_connected, "{failure}");
        }
    }

    #[test]
    fn the_innermost_causes_are_told() {
        let inner = std::io::Error::other("refused");
        let outer = std::io::Error::other(inner);
        assert_eq!(causes(&outer), "refused");
    }
}
