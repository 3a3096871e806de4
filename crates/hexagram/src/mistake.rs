//! Whose mistake an error is. The exit code tells (README, "Exit codes").

use anyhow::Error;
use hexagram_core::PlacementError;
use hexagram_edge::EdgeError;
use hexagram_runtime::config::{EXIT_CONFIG, EXIT_USAGE};
use hexagram_tls::TlsError;
use hexagram_worker::FederationError;

/// Anything that is nobody's mistake: a port in use, a server that is away.
pub(crate) const EXIT_FAILURE: u8 = 1;

/// A mistake in what the user gave.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Mistake {
    /// A setting is missing or does not go with another.
    #[error("{0}")]
    Settings(String),
    /// A file that a setting names cannot be used.
    #[error("{0}")]
    File(String),
}

/// The exit code of a command that failed.
pub(crate) fn exit_code(error: &Error) -> u8 {
    let settings = matches!(error.downcast_ref(), Some(Mistake::Settings(_)))
        || matches!(error.downcast_ref(), Some(EdgeError::Settings(_)))
        || error.is::<FederationError>()
        || error.is::<PlacementError>();
    let file = matches!(error.downcast_ref(), Some(Mistake::File(_)))
        || matches!(error.downcast_ref(), Some(EdgeError::File(_)))
        || error.is::<TlsError>();
    match (settings, file) {
        (true, _) => EXIT_USAGE,
        (_, true) => EXIT_CONFIG,
        _ => EXIT_FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_for_each_kind_also_behind_a_context() {
        let text = || "x".to_owned();
        for (error, code) in [
            (Error::from(Mistake::Settings(text())), 2),
            (EdgeError::Settings(text()).into(), 2),
            (FederationError::Duplicate(text()).into(), 2),
            (PlacementError::NoWorkers.into(), 2),
            (Mistake::File(text()).into(), 78),
            (EdgeError::File(text()).into(), 78),
            (TlsError::Over.into(), 78),
            (Error::msg("a port is in use"), 1),
        ] {
            assert_eq!(exit_code(&error), code, "{error}");
            assert_eq!(exit_code(&error.context("while starting")), code);
        }
    }
}
