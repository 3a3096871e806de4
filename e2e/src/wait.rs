//! Waiting for a condition, with a deadline and the reason why it did not come.

use std::fmt::Display;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{Instant, sleep};

/// Between two looks. Each starts a program, on a machine that has other things to do.
const PAUSE: Duration = Duration::from_secs(1);

/// What `look` finds, as soon as it finds it.
///
/// # Errors
/// With its last error, once `limit` is over.
pub(crate) async fn until<T>(
    what: impl Display,
    limit: Duration,
    look: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    until_every(PAUSE, what, limit, look).await
}

/// As [`until`], with another pause between two looks.
pub(crate) async fn until_every<T>(
    pause: Duration,
    what: impl Display,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let found = look().await;
        if found.is_ok() || start.elapsed() >= limit {
            return found.with_context(|| format!("{what}: not within {limit:?}"));
        }
        sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[tokio::test]
    async fn the_last_reason_is_told() {
        let limit = Duration::from_millis(1);
        let never = until("two pods", limit, async || bail!("one pod")).await;
        let error: Result<(), _> = never;
        let text = format!("{:#}", error.unwrap_err());
        assert_eq!(text, "two pods: not within 1ms: one pod");
    }
}
