//! How long a client's connection may stay: an edge that is new gets its share of the
//! clients only as they connect again.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use hexagram_runtime::random::jittered;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// In which a connection is set to close before its stream ends: the client is not to open
/// the stream again on it.
const SETTLE: Duration = Duration::from_millis(50);

/// The age of one connection.
#[derive(Debug)]
pub(crate) struct Age {
    over_at: Option<Instant>,
    closing: CancellationToken,
}

impl Age {
    /// Begins now; over between half of `limit` and all of it, since many connect at once.
    pub(crate) fn new(limit: Option<Duration>) -> Self {
        Self {
            over_at: limit.map(|limit| Instant::now() + jittered(limit)),
            closing: CancellationToken::new(),
        }
    }

    /// Whether the next answer is to ask the client to connect again.
    pub(crate) fn is_over(&self) -> bool {
        self.over_at.is_some_and(|end| end <= Instant::now())
    }

    /// Passes when it is over.
    pub(crate) async fn over(&self) {
        match self.over_at {
            Some(end) => sleep_until(end).await,
            None => pending().await,
        }
    }

    /// Passes when a standing stream on the connection is to end, and the connection with
    /// it.
    pub(crate) async fn end_stream(self: Arc<Self>) {
        self.over().await;
        self.closing.cancel();
        sleep(SETTLE).await;
    }

    /// Passes when the connection is to close after what runs on it.
    pub(crate) async fn closing(&self) {
        self.closing.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_over_within_its_limit_and_never_without_one() {
        let limit = Duration::from_secs(60);
        let (young, eternal) = (Age::new(Some(limit)), Age::new(None));
        assert!(!young.is_over());
        let start = Instant::now();
        young.over().await;
        assert!(young.is_over() && start.elapsed() >= limit / 2);
        assert!(start.elapsed() <= limit + Duration::from_millis(1));
        assert!(!eternal.is_over() && eternal.over().now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_is_set_to_close_before_its_stream_ends() {
        let age = Arc::new(Age::new(Some(Duration::from_secs(1))));
        let end = tokio::spawn(Arc::clone(&age).end_stream());
        age.closing().await;
        assert!(age.is_over() && !end.is_finished());
        end.await.expect("the stream ends");
    }
}
