//! A running controller, as the rest of its process speaks to it: what workers and
//! people ask for goes to its driver (`driver.rs`).

use std::collections::BTreeSet;

use hexagram_core::{Owner, WorkerId};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::driver::Driver;
use crate::fleet::NotTaken;
use crate::introduction::Introduction;
use crate::overview::Overview;
use crate::register::Register;
use crate::request::{Answer, News, OrderError, Request, Settings};

#[cfg(test)]
mod tests;

/// Requests that wait.
const QUEUE: usize = 256;
/// News that wait for who follows them: every shard of the largest cluster, once.
const NEWS: usize = 1024;

/// Why a worker may not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Its name is another's, or it does not go with others.
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    /// The controller ended.
    #[error("the controller is ending")]
    Ended,
}

/// A running controller; clones speak to the same one.
#[derive(Clone, Debug)]
pub struct Controller {
    requests: mpsc::Sender<Request>,
    overview: watch::Receiver<Overview>,
    news: broadcast::WeakSender<News>,
}

impl Controller {
    /// Controls the cluster of `register` until `shutdown`.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as [`tokio::spawn`].
    pub fn start(register: impl Register, settings: Settings, shutdown: CancellationToken) -> Self {
        let (requests, inbox) = mpsc::channel(QUEUE);
        let (shown, overview) = watch::channel(Overview::default());
        let (told, _) = broadcast::channel(NEWS);
        let news = told.downgrade();
        let driver = Driver::new(register, settings, shown, told);
        tokio::spawn(shutdown.run_until_cancelled_owned(driver.run(inbox)));
        Self {
            requests,
            overview,
            news,
        }
    }

    /// A worker wants to be given shards; repeating it is harmless.
    ///
    /// # Errors
    /// When another process has its name, when it does not go with a worker that
    /// lives, or when the controller ends.
    pub async fn join(&self, who: Introduction) -> Result<(), JoinError> {
        let joined = self.ask(|answer| Request::Join(who, answer)).await;
        Ok(joined.ok_or(JoinError::Ended)??)
    }

    /// A worker ends now.
    pub async fn leave(&self, owner: Owner) {
        // A controller that ended knows nobody anyway.
        let _ = self.requests.send(Request::Leave(owner)).await;
    }

    /// Somebody has a map of this version: an empty register begins above it.
    pub async fn known(&self, version: u64) {
        let _ = self.requests.send(Request::Known(version)).await;
    }

    /// Begins to move a shard; one that is there already needs no move.
    ///
    /// # Errors
    /// When it cannot go there now.
    pub async fn move_shard(&self, shard: u16, to: WorkerId) -> Result<(), OrderError> {
        let asked = self.ask(|answer| Request::Move(shard, to, answer)).await;
        asked.unwrap_or(Err(OrderError::Ended))
    }

    /// Begins to empty a worker; it stays so until [`Self::cancel_drain`], or until it
    /// is restarted, or this controller is.
    ///
    /// # Errors
    /// When nobody else could take its shards.
    pub async fn drain(&self, worker: WorkerId) -> Result<(), OrderError> {
        let asked = self.ask(|answer| Request::Drain(worker, answer)).await;
        asked.unwrap_or(Err(OrderError::Ended))
    }

    /// Ends what [`Self::drain`] began: the worker may be given shards again. Moves
    /// under way go on.
    ///
    /// # Errors
    /// When nobody ordered that drain.
    pub async fn cancel_drain(&self, worker: WorkerId) -> Result<(), OrderError> {
        let asked = self
            .ask(|answer| Request::CancelDrain(worker, answer))
            .await;
        asked.unwrap_or(Err(OrderError::Ended))
    }

    /// The end of these workers is near, and of no others: they are given shards only where
    /// nobody else can take them, and keep theirs until they drain.
    pub async fn outgoing(&self, workers: BTreeSet<WorkerId>) {
        // A controller that ended places nothing.
        let _ = self.requests.send(Request::Outgoing(workers)).await;
    }

    /// The platform has workers of these names, and of no others; none where it does not
    /// say. One that is about to end is there still. Who does not report and is not there is
    /// dead.
    pub async fn present(&self, workers: BTreeSet<WorkerId>) {
        // A controller that ended declares nobody dead.
        let _ = self.requests.send(Request::Present(workers)).await;
    }

    /// What happens from now on; `None` when the controller has ended. Who is slow misses
    /// some.
    #[must_use]
    pub fn news(&self) -> Option<broadcast::Receiver<News>> {
        Some(self.news.upgrade()?.subscribe())
    }

    /// What this controller knows beside the map.
    #[must_use]
    pub fn overview(&self) -> Overview {
        self.overview.borrow().clone()
    }

    /// Waits until it controls no more: it was told to end, or it panicked.
    pub async fn ended(&self) {
        self.requests.closed().await;
    }

    async fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(request(answer)).await.ok()?;
        answered.await.ok()
    }
}
