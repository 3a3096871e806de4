//! Waiting with deadlines. They are generous: a deadline that passes means
//! that something hangs, not that the machine was busy.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

const DEADLINE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(5);

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

/// Returns as soon as `holds` does.
///
/// # Panics
/// When it does not within [`DEADLINE`].
pub(crate) async fn until(what: impl Display, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(
            start.elapsed() < DEADLINE,
            "{what}: not within {DEADLINE:?}"
        );
        sleep(PAUSE).await;
    }
}
