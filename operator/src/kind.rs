//! A kind that the cluster does not know is the cause of what is not found, and has a cure.

use kube::runtime::watcher;

/// Why objects of this kind could not be read or made.
pub(crate) fn cause(error: &kube::Error, kind: &str) -> String {
    cure(error, kind).unwrap_or_else(|| error.to_string())
}

/// Why they cannot be followed.
pub(crate) fn cause_of_watch(error: &watcher::Error, kind: &str) -> String {
    use watcher::Error::{InitialListFailed, WatchStartFailed};
    let cure = match error {
        InitialListFailed(error) | WatchStartFailed(error) => cure(error, kind),
        _ => None,
    };
    cure.unwrap_or_else(|| error.to_string())
}

/// Lists, watches and new objects name nothing else that may be missing.
fn cure(error: &kube::Error, kind: &str) -> Option<String> {
    let kube::Error::Api(status) = error else {
        return None;
    };
    (status.code == 404).then(|| {
        format!(
            "the cluster has no kind {kind}: install it with `hexagram crd | kubectl apply \
             --server-side -f -`, or the chart with crds.install=true"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};

    const CURE: &str = "the cluster has no kind Upstream: install it with `hexagram crd | \
        kubectl apply --server-side -f -`, or the chart with crds.install=true";

    fn refused(code: u16) -> kube::Error {
        let status = Status::failure("refused", "Refused").with_code(code);
        kube::Error::Api(status.boxed())
    }

    #[test]
    fn a_kind_that_nobody_knows_is_named_with_its_cure() {
        assert_eq!(cause(&refused(404), "Upstream"), CURE);
        for error in [
            InitialListFailed(refused(404)),
            WatchStartFailed(refused(404)),
        ] {
            assert_eq!(cause_of_watch(&error, "Upstream"), CURE);
        }
    }

    #[test]
    fn other_errors_say_what_they_say() {
        let error = refused(403);
        assert_eq!(cause(&error, "Upstream"), error.to_string());
        for error in [WatchStartFailed(refused(403)), WatchFailed(refused(404))] {
            assert_eq!(cause_of_watch(&error, "Upstream"), error.to_string());
        }
    }
}
