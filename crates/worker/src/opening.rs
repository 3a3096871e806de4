//! Exchanges of a shard that were admitted and may still open an upstream session: a
//! shard that moves takes along what they open, so it waits for them for a moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// How many exchanges there are.
#[derive(Debug, Default)]
pub(crate) struct Openings {
    count: AtomicUsize,
    none_left: Notify,
}

/// One of them, until it has its upstream session, needs none, or is dropped.
#[derive(Debug)]
pub(crate) struct Opening {
    all: Arc<Openings>,
    over: AtomicBool,
}

impl Openings {
    /// One more.
    pub(crate) fn begin(self: &Arc<Self>) -> Opening {
        self.count.fetch_add(1, Ordering::AcqRel);
        Opening {
            all: Arc::clone(self),
            over: AtomicBool::new(false),
        }
    }

    /// Waits until there is none.
    pub(crate) async fn over(&self) {
        loop {
            let none_left = self.none_left.notified();
            tokio::pin!(none_left);
            none_left.as_mut().enable();
            if self.count.load(Ordering::Acquire) == 0 {
                return;
            }
            none_left.await;
        }
    }
}

impl Opening {
    /// It opens nothing more.
    pub(crate) fn end(&self) {
        let is_last = || self.all.count.fetch_sub(1, Ordering::AcqRel) == 1;
        if !self.over.swap(true, Ordering::AcqRel) && is_last() {
            self.all.none_left.notify_waiters();
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn what_ended_and_was_dropped_counts_once() {
        let all = Arc::<Openings>::default();
        let [first, second] = [all.begin(), all.begin()];
        first.end();
        drop(first);
        assert!(all.over().now_or_never().is_none(), "the second goes on");
        let over = all.over();
        drop(second);
        assert!(over.now_or_never().is_some());
    }
}
