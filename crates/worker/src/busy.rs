//! How busy the shards keep this worker: the time in which it polls their tasks, and of
//! what links, connections and the store take the same share.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hexagram_core::{LoadAverage, ShardCount, ShardId};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::metrics::ShardLoads;
use crate::polled::Process;
use crate::reply::Run;

/// One core's time.
const WHOLE: u32 = 1_000_000;

/// Nanoseconds since the last measurement. Each on a cache line of its own: threads
/// that work for different shards do not wait for each other.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Spent(AtomicU64);

/// Adds up what one shard takes, where anybody wants to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timer(Option<Arc<Spent>>);

/// A task of a shard, timed.
pub(crate) struct Timed {
    run: Run,
    timer: Timer,
}

/// What each shard takes.
pub(crate) struct Busy {
    shards: ShardCount,
    spent: Vec<Arc<Spent>>,
    averages: Mutex<Vec<LoadAverage>>,
    process: Process,
    metrics: ShardLoads,
}

/// What the threads of a process did since it was asked last.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    busy: Duration,
    polled: u64,
}

impl Timer {
    /// Does `work` and adds the time that it takes.
    pub(crate) fn time<T>(&self, work: impl FnOnce() -> T) -> T {
        let Some(spent) = &self.0 else {
            return work();
        };
        let begun = Instant::now();
        let done = work();
        let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        spent.0.fetch_add(nanos, Ordering::Relaxed);
        done
    }

    /// Runs `run` and adds the time in which it is polled.
    pub(crate) fn run(self, run: Run) -> Timed {
        Timed { run, timer: self }
    }
}

impl Future for Timed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self { run, timer } = &mut *self;
        timer.time(|| run.as_mut().poll(context))
    }
}

impl Threads {
    /// How much longer they were busy than they polled shards' tasks: the rest was
    /// done for those tasks as well.
    fn factor(&mut self, process: &Process, busy: Duration) -> f64 {
        let before = std::mem::replace(
            self,
            Self {
                busy,
                polled: process.polled(),
            },
        );
        let polled = Duration::from_nanos(self.polled - before.polled);
        match polled.is_zero() {
            true => 1.0,
            // Their clocks are read at different moments.
            false => (busy - before.busy).div_duration_f64(polled).max(1.0),
        }
    }
}

impl Busy {
    pub(crate) fn new(shards: ShardCount, process: Process, metrics: ShardLoads) -> Self {
        let count = usize::from(shards.get());
        Self {
            shards,
            spent: (0..count).map(|_| Arc::default()).collect(),
            averages: Mutex::new(vec![LoadAverage::default(); count]),
            process,
            metrics,
        }
    }

    pub(crate) fn timer(&self, shard: ShardId) -> Timer {
        Timer(self.spent.get(shard.index()).cloned())
    }

    /// What `shard` takes, in millionths of one core's time.
    pub(crate) fn load(&self, shard: ShardId) -> u32 {
        self.averages.lock()[shard.index()].millionths()
    }

    /// What was spent on each shard since this was asked last, in nanoseconds.
    fn spent(&self) -> Vec<u64> {
        let spent = self.spent.iter();
        let spent: Vec<_> = spent
            .map(|spent| spent.0.swap(0, Ordering::Relaxed))
            .collect();
        self.process.add(spent.iter().sum());
        spent
    }

    /// Notes what each shard took of the last `time`.
    pub(crate) fn sample(
        &self,
        threads: &mut Threads,
        time: Duration,
        is_served: impl Fn(ShardId) -> bool,
    ) {
        let spent = self.spent();
        let factor = threads.factor(&self.process, busy_until_now());
        for (shard, nanos) in self.shards.iter().zip(spent) {
            let took = Duration::from_nanos(nanos).mul_f64(factor);
            self.measure(time, shard, took, is_served(shard));
        }
    }

    /// A shard took `busy` of the last `time`. One that is not served here begins anew
    /// when it comes back.
    fn measure(&self, time: Duration, shard: ShardId, busy: Duration, is_served: bool) {
        let mut averages = self.averages.lock();
        let average = &mut averages[shard.index()];
        if !is_served {
            *average = LoadAverage::default();
            return self.metrics.forget(shard);
        }
        average.add(busy, time);
        self.metrics.set(shard, average.millionths());
    }
}

/// For how long this runtime's threads were busy, added up.
fn busy_until_now() -> Duration {
    let metrics = Handle::current().metrics();
    let threads = 0..metrics.num_workers();
    threads
        .map(|at| metrics.worker_total_busy_duration(at))
        .sum()
}

/// What this worker can do, in the unit of the loads: its runtime's threads. Workers
/// of one process share them.
pub(crate) fn capacity() -> u32 {
    let threads = Handle::current().metrics().num_workers();
    u32::try_from(threads)
        .unwrap_or(u32::MAX)
        .saturating_mul(WHOLE)
}

#[cfg(test)]
mod tests {
    use hexagram_runtime::metrics::Metrics;

    use super::*;
    use crate::metrics::WorkerMetrics;

    const SECOND: Duration = Duration::from_secs(1);

    fn busy(metrics: &Metrics) -> Busy {
        let loads = WorkerMetrics::register(metrics).shard_loads(&"w".parse().unwrap());
        Busy::new(ShardCount::default(), Process::default(), loads)
    }

    fn measure(busy: &Busy, number: u16, is_served: bool) {
        let spent = Duration::from_nanos(busy.spent()[usize::from(number)]);
        busy.measure(SECOND, shard(number), spent, is_served);
    }

    fn shard(number: u16) -> ShardId {
        ShardCount::default().shard(number).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn polls_count_and_waiting_does_not() {
        let busy = busy(&Metrics::new());
        let timer = busy.timer(shard(5));
        let run = timer.run(Box::pin(async {
            tokio::time::advance(Duration::from_millis(30)).await;
            tokio::time::sleep(Duration::from_millis(900)).await;
        }));
        run.await;
        measure(&busy, 5, true);
        measure(&busy, 6, true);
        assert_eq!(busy.load(shard(5)), 30_000);
        assert_eq!(busy.load(shard(6)), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_served_elsewhere_begins_anew() {
        let metrics = Metrics::new();
        let busy = busy(&metrics);
        let timer = busy.timer(shard(5));
        let shown = "hexagram_worker_shard_load{shard=\"5\",worker=\"w\"} 0.25";
        let spend = |millis| {
            let timer = timer.clone();
            timer.run(Box::pin(tokio::time::advance(Duration::from_millis(
                millis,
            ))))
        };
        spend(250).await;
        measure(&busy, 5, true);
        assert!(metrics.encode().contains(shown));
        measure(&busy, 5, false);
        assert!(!metrics.encode().contains("shard_load"));
        spend(500).await;
        measure(&busy, 5, true);
        assert_eq!(busy.load(shard(5)), 500_000);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_polled_is_added_in_proportion() {
        let process = Process::default();
        let metrics = Metrics::new();
        let loads = WorkerMetrics::register(&metrics);
        let worker = |name: &str| {
            let loads = loads.shard_loads(&name.parse().unwrap());
            Busy::new(ShardCount::default(), process.clone(), loads)
        };
        let workers = [worker("a"), worker("b")];
        for (busy, millis) in workers.iter().zip([100, 300]) {
            let work = tokio::time::advance(Duration::from_millis(millis));
            busy.timer(shard(5)).run(Box::pin(work)).await;
            busy.spent();
        }
        let mut threads = Threads::default();
        assert_eq!(threads.factor(&process, SECOND), 2.5, "of both workers");
        assert_eq!(
            threads.factor(&process, 2 * SECOND),
            1.0,
            "nothing was polled"
        );
        let work = tokio::time::advance(SECOND);
        workers[0].timer(shard(5)).run(Box::pin(work)).await;
        workers[0].spent();
        assert_eq!(
            threads.factor(&process, 2 * SECOND),
            1.0,
            "never less than that"
        );
    }

    #[tokio::test]
    async fn where_nobody_asks_nothing_is_counted() {
        Timer::default().run(Box::pin(async {})).await;
        assert_eq!(Timer::default().time(|| 7), 7);
    }
}
