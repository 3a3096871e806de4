//! What an edge has opened stays open only while it has the key. Whoever holds on to it, as a
//! standing stream does, is told that the key ring is another one.

use std::future::pending;

use tokio::sync::watch;

/// Tells of exchanges of the key ring.
#[derive(Debug, Default)]
pub(crate) struct Rings(watch::Sender<u64>);

impl Rings {
    /// The ring was exchanged so often by now, as [`rings`](hexagram_core::Sealer::rings) says.
    pub(crate) fn tell(&self, count: u64) {
        self.0
            .send_if_modified(|known| std::mem::replace(known, count) != count);
    }

    /// Passes when the ring is one with which something does not open.
    pub(crate) fn closed<O>(&self, opens: O) -> impl Future<Output = ()> + Send + Sync + use<O>
    where
        O: Fn() -> bool + Send + Sync + 'static,
    {
        // Before the first look: no exchange falls in between.
        let mut exchanged = self.0.subscribe();
        async move {
            while opens() {
                if exchanged.changed().await.is_err() {
                    // Who would tell is gone: so is the edge.
                    return pending().await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_does_not_open_with_another_ring_is_closed() {
        let (rings, opens) = (Rings::default(), Arc::new(AtomicBool::new(true)));
        let opens_now = Arc::clone(&opens);
        let mut closed = Box::pin(rings.closed(move || opens_now.load(Ordering::Relaxed)));
        let mut is_closed = || closed.as_mut().now_or_never().is_some();
        assert!(!is_closed());
        rings.tell(1);
        assert!(!is_closed(), "it opens with that one, too");
        opens.store(false, Ordering::Relaxed);
        rings.tell(1);
        assert!(!is_closed(), "that is known");
        rings.tell(2);
        assert!(is_closed());
    }

    #[tokio::test]
    async fn a_ring_of_before_is_not_missed() {
        let rings = Rings::default();
        rings.tell(1);
        assert!(rings.closed(|| false).now_or_never().is_some());
        assert!(rings.closed(|| true).now_or_never().is_none());
    }
}
