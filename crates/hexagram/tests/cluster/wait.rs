//! Waiting with deadlines. They are generous: a deadline that passes means
//! that something hangs, not that the machine was busy.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// For anything that should take well under a second.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

const PAUSE: Duration = Duration::from_millis(20);

/// What `probe` finds, as soon as it finds it.
///
/// # Panics
/// When it does not within [`DEADLINE`].
pub(crate) async fn until<T>(what: impl Display, probe: impl AsyncFnMut() -> Option<T>) -> T {
    until_in(DEADLINE, what, probe).await
}

/// As [`until`], for what takes its time.
///
/// # Panics
/// When it does not find it within `deadline`.
pub(crate) async fn until_in<T>(
    deadline: Duration,
    what: impl Display,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(
            start.elapsed() < deadline,
            "{what}: not within {deadline:?}"
        );
        sleep(PAUSE).await;
    }
}

/// What `work` gives.
///
/// # Panics
/// When it hangs for longer than [`DEADLINE`].
pub(crate) async fn within<T>(what: impl Display, work: impl Future<Output = T>) -> T {
    match timeout(DEADLINE, work).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: still not done after {DEADLINE:?}"),
    }
}
