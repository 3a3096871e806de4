//! Waiting for work in flight before a process ends.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// How a process ends.
#[derive(Clone, Debug, clap::Args)]
pub struct DrainArgs {
    /// Seconds that an edge goes on accepting after SIGTERM, while load balancers learn of it
    #[arg(long = "drain-delay", default_value_t = 2, value_name = "SECONDS")]
    delay_seconds: u64,

    /// Seconds that running calls may take to finish after that
    #[arg(long = "drain-grace", default_value_t = 20, value_name = "SECONDS")]
    grace_seconds: u64,
}

impl DrainArgs {
    /// How long to go on accepting.
    #[must_use]
    pub fn delay(&self) -> Duration {
        Duration::from_secs(self.delay_seconds)
    }

    /// How long running calls may take.
    #[must_use]
    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.grace_seconds)
    }
}

/// Counts running tasks and waits for their end. Clones share one count.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    tasks: TaskTracker,
}

impl Drain {
    /// Starts with no tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Spawns a task that [`Drain::wait`] waits for.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as [`tokio::spawn`].
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// Makes [`Drain::wait`] wait for a future that somebody else polls.
    pub fn track<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        self.tasks.track_future(future)
    }

    /// Counts as a task for as long as it is held.
    pub fn hold(&self) -> TaskTrackerToken {
        self.tasks.token()
    }

    /// Number of tasks still running.
    #[must_use]
    pub fn running(&self) -> usize {
        self.tasks.len()
    }

    /// Waits until no task runs, at most `grace`; returns how many still run.
    ///
    /// Tasks started meanwhile are waited for too. Nothing is aborted: what is
    /// still running ends with the runtime.
    pub async fn wait(&self, grace: Duration) -> usize {
        self.tasks.close();
        // An elapsed grace is no error: the count tells.
        let _ = tokio::time::timeout(grace, self.tasks.wait()).await;
        self.running()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::oneshot;

    use super::*;

    const GRACE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn returns_at_once_when_nothing_runs() {
        assert_eq!(Drain::new().wait(GRACE).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_the_last_task() {
        let drain = Drain::new();
        let (finish, finished) = oneshot::channel::<()>();
        drain.spawn(async move { finished.await.ok() });
        let waiting = tokio::spawn({
            let drain = drain.clone();
            async move { drain.wait(GRACE).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        finish.send(()).expect("the task listens");
        assert_eq!(waiting.await.expect("no panic"), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_after_the_grace_and_counts_what_still_runs() {
        let drain = Drain::new();
        drain.spawn(pending::<()>());
        tokio::spawn(drain.track(pending::<()>()));
        drain.spawn(async {});
        assert_eq!(drain.wait(GRACE).await, 2);
    }
}
