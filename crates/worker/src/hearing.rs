//! A modern client's ear at its legacy upstreams, shared by its subscriptions:
//! an upstream session has one standing stream.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use crate::upstream::UpstreamId;

/// Notifications that wait for the slowest subscription; one that is slower
/// still gets hints of what it may have missed.
const QUEUE: usize = 64;

/// A notification and its upstream.
pub(crate) type Heard = (UpstreamId, Bytes);

/// A listening task; dropped, it ends.
#[derive(Debug)]
pub(crate) struct Hearing {
    heard: broadcast::Sender<Heard>,
    task: JoinHandle<()>,
}

impl Hearing {
    /// Runs what `listen` makes of the sender.
    pub(crate) fn start<F>(listen: impl FnOnce(broadcast::Sender<Heard>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (heard, _) = broadcast::channel(QUEUE);
        let task = tokio::spawn(listen(heard.clone()));
        Self { heard, task }
    }

    /// What is heard from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Heard> {
        self.heard.subscribe()
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens while somebody holds what it gives.
#[derive(Debug, Default)]
pub(crate) struct Ear(Mutex<Weak<Hearing>>);

impl Ear {
    /// The hearing under way, else a new one.
    pub(crate) fn hearing(&self, start: impl FnOnce() -> Hearing) -> Arc<Hearing> {
        let mut hearing = self.0.lock();
        hearing.upgrade().unwrap_or_else(|| {
            let started = Arc::new(start());
            *hearing = Arc::downgrade(&started);
            started
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_hearing_serves_all_and_ends_with_the_last() {
        let ear = Ear::default();
        let (alive, mut ended) = tokio::sync::oneshot::channel::<()>();
        let first = ear.hearing(|| {
            Hearing::start(|_| async move {
                let _alive = alive;
                std::future::pending::<()>().await;
            })
        });
        let second = ear.hearing(|| unreachable!("one is under way"));
        drop(first);
        assert!(
            ended
                .try_recv()
                .is_err_and(|e| e == tokio::sync::oneshot::error::TryRecvError::Empty)
        );
        drop(second);
        ended.await.expect_err("the task was ended");
    }
}
