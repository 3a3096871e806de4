//! The tasks of a leader. None of them ends while it leads: a leader without one of them would
//! renew its lease and leave undone what nobody else may do then.

use std::collections::BTreeMap;
use std::future::pending;

use tokio::task::{Id, JoinSet};

/// Tasks and what each of them does; they end with this.
#[derive(Default)]
pub(crate) struct Tasks {
    running: JoinSet<()>,
    names: BTreeMap<Id, &'static str>,
}

impl Tasks {
    /// Begins one that does `what`: "following the workers' pods".
    pub(crate) fn spawn(
        &mut self,
        what: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let id = self.running.spawn(task).id();
        self.names.insert(id, what);
    }

    /// Waits for the first that ends; which it is, and how it ended.
    pub(crate) async fn broken(&mut self) -> String {
        let Some(ended) = self.running.join_next_with_id().await else {
            return pending().await;
        };
        match ended {
            Ok((id, ())) => format!("{} has ended", self.name(id)),
            Err(error) => format!("{} has ended: {error}", self.name(error.id())),
        }
    }

    fn name(&self, id: Id) -> &'static str {
        self.names.get(&id).copied().unwrap_or("a task")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// Longer than any task here takes.
    const DEADLINE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_told_of_by_its_name() {
        let mut tasks = Tasks::default();
        tasks.spawn("waiting", pending());
        tasks.spawn("counting", async { panic!("beyond ten") });
        let broken = timeout(DEADLINE, tasks.broken()).await.unwrap();
        let is_told = broken.contains("counting") && broken.contains("beyond ten");
        assert!(is_told, "{broken}");
        assert!(timeout(DEADLINE, tasks.broken()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_returns_is_told_of_as_well() {
        let mut tasks = Tasks::default();
        tasks.spawn("waiting", pending());
        tasks.spawn("looking", async {});
        let broken = timeout(DEADLINE, tasks.broken()).await.unwrap();
        assert_eq!(broken, "looking has ended");
    }

    #[tokio::test(start_paused = true)]
    async fn without_tasks_none_ends() {
        let mut tasks = Tasks::default();
        assert!(timeout(DEADLINE, tasks.broken()).await.is_err());
    }
}
