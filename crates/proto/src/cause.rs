//! Why a worker is out of reach: tonic's own texts leave it out.

use std::error::Error;
use std::iter::successors;

use tonic::{Code, Status};

/// What a worker that takes links over TLS only says to a plain connection, in HTTP/2's
/// own words (`INADEQUATE_SECURITY`). It comes from the connection, not from a service, which
/// says so where the caller's role may not ask it.
const NEEDS_TLS: Code = Code::PermissionDenied;

/// The innermost reason of a failed dial.
#[must_use]
pub fn innermost(error: &(dyn Error + 'static)) -> String {
    let causes = successors(Some(error), |error| (*error).source());
    causes.last().unwrap_or(error).to_string()
}

/// The same status, with the cure where this process should speak TLS and does not.
#[must_use]
pub fn explained(status: Status) -> Status {
    match status.code() {
        NEEDS_TLS if status.source().is_some() => Status::permission_denied(
            "the worker takes links over TLS only, and this process was not given --link-tls: \
             give it to both or to neither",
        ),
        _ => status,
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_innermost_cause_is_told() {
        #[derive(Debug, thiserror::Error)]
        #[error("transport error")]
        struct Outer(#[source] io::Error);
        let error = Outer(io::Error::other("refused"));
        assert_eq!(innermost(&error), "refused");
    }

    #[test]
    fn who_lacks_tls_is_told_the_cure() {
        let mut refused = Status::permission_denied("h2 protocol error");
        refused.set_source(Arc::new(io::Error::other("insufficient security")));
        let told = explained(refused);
        assert!(told.message().contains("--link-tls"), "{told}");
        for other in [Status::internal("x"), Status::permission_denied("x")] {
            assert_eq!(explained(other).message(), "x");
        }
    }
}
