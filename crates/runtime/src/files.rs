//! How many files a process may have open, sockets among them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Asked for where the hard limit is none: macOS grants no more by default.
const WITHOUT_HARD: u64 = 10_240;

/// Raises the soft limit to the hard one. It is 1024 in most containers, for the sake of
/// programs that `select`, and no setting of Kubernetes changes it.
pub fn raise() {
    let before = getrlimit(Resource::Nofile);
    let wanted = raised(before);
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => tracing::debug!(
            before = before.current,
            limit = wanted.current,
            "limit of open files"
        ),
        Err(error) => tracing::warn!(
            %error,
            limit = before.current,
            wanted = wanted.current,
            "cannot raise the limit of open files, connections among them: \
             start the process with a higher one (`ulimit -S -n`)"
        ),
    }
}

/// How many this process may have open; `None` where nothing bounds it.
#[must_use]
pub fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

fn raised(limits: Rlimit) -> Rlimit {
    let most = limits.maximum.unwrap_or(WITHOUT_HARD);
    let current = limits.current.map(|soft| soft.max(most));
    Rlimit { current, ..limits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        for (soft, hard, becomes) in [
            (Some(1024), Some(524_288), Some(524_288)),
            (Some(20_000), Some(20_000), Some(20_000)),
            (Some(256), None, Some(WITHOUT_HARD)),
            (Some(65_536), None, Some(65_536)),
            (None, None, None),
        ] {
            let limits = Rlimit {
                current: soft,
                maximum: hard,
            };
            let expected = Rlimit {
                current: becomes,
                maximum: hard,
            };
            assert_eq!(raised(limits), expected);
        }
    }

    #[test]
    fn what_was_raised_is_the_limit() {
        let wanted = raised(getrlimit(Resource::Nofile));
        raise();
        assert_eq!(limit(), wanted.current);
    }
}
