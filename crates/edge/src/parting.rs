//! When a draining edge's standing streams end, and others that end together: their clients
//! come again, and must not do so all at once.

use std::pin::Pin;
use std::time::Duration;

use hexagram_runtime::random::up_to;
use tokio::sync::watch;
use tokio::time::sleep;

/// Streams that end in a second: other edges take their clients in beside their work.
const A_SECOND: u32 = 500;
/// The part of the grace that may pass: what ends last is to reach its client.
const PART: f64 = 0.8;

/// Streams of one key end within as long as if an edge had this grace.
const KEY_GRACE: Duration = Duration::from_secs(30);

/// The end of one stream.
pub(crate) type End = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// Says when streams are to end. They may take so long once that is set.
#[derive(Debug, Default)]
pub(crate) struct Parting(watch::Sender<Option<Duration>>);

impl Parting {
    /// Ends `streams` of them, spread over as much of `grace` as they need.
    pub(crate) fn begin(&self, streams: u32, grace: Duration) {
        self.0.send_replace(Some(spread(streams, grace)));
    }

    /// Whether streams end, and none is to be opened.
    pub(crate) fn has_begun(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Passes when one stream is to end.
    pub(crate) fn end(&self) -> impl Future<Output = ()> + Send + Sync + use<> {
        let mut begun = self.0.subscribe();
        async move {
            let begun = begun.wait_for(Option::is_some).await;
            // Who would say when is gone: so is the edge.
            let spread = begun.ok().and_then(|spread| *spread);
            sleep(up_to(spread.unwrap_or_default())).await;
        }
    }
}

/// Passes when it is the turn of one of `streams` whose key is dropped.
pub(crate) async fn turn(streams: u32) {
    sleep(up_to(spread(streams, KEY_GRACE))).await;
}

fn spread(streams: u32, grace: Duration) -> Duration {
    let needed = Duration::from_secs(1) * streams / A_SECOND;
    needed.min(grace.mul_f64(PART))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn few_streams_end_at_once_and_many_within_the_grace() {
        let grace = Duration::from_secs(30);
        assert_eq!(spread(100, grace), Duration::from_millis(200));
        assert_eq!(spread(5_000, grace), Duration::from_secs(10));
        assert_eq!(spread(1_000_000, grace), Duration::from_secs(24));
        assert_eq!(spread(5_000, Duration::ZERO), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn streams_of_a_dropped_key_end_within_its_grace() {
        let start = tokio::time::Instant::now();
        turn(0).await;
        assert!(start.elapsed() < Duration::from_millis(10));
        turn(u32::MAX).await;
        assert!(start.elapsed() <= KEY_GRACE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_within_the_spread() {
        let parting = Parting::default();
        let (early, start) = (parting.end(), tokio::time::Instant::now());
        assert!(!parting.has_begun() && parting.end().now_or_never().is_none());
        parting.begin(5_000, Duration::from_secs(30));
        assert!(parting.has_begun());
        futures_util::future::join(early, parting.end()).await;
        assert!(start.elapsed() <= Duration::from_secs(11));
    }
}
