//! Many connections to one target, and a load driven over them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::connection::Connection;
use crate::failure::Failure;
use crate::schedule::Schedule;
use crate::tally::SharedTally;
use crate::target::Target;

/// Connections that are opened, or called once, at the same time: fewer than a
/// listen queue holds.
const AT_ONCE: usize = 50;
/// How long after the end of a run an answer may usually still come.
pub const GRACE: Duration = Duration::from_secs(5);
/// A closed loop whose server is gone asks again this often, not in a spin.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A load to drive.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How long calls are sent.
    pub length: Duration,
    /// When the next call is sent.
    pub pace: Pace,
    /// How long after the end an answer may still come; later is no answer.
    pub grace: Duration,
}

/// When the next call is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Each connection calls again when its answer came.
    Closed,
    /// At fixed times, this many calls per second in all; above 0. The runtime's
    /// timer wakes up to about 1 ms late, which latencies include.
    Open(u64),
}

/// Open connections to one target.
#[derive(Debug)]
pub struct Fleet {
    connections: Vec<Connection>,
}

impl Fleet {
    /// Opens `count` connections, at most 50 at once.
    ///
    /// # Errors
    /// The first connection or session that fails.
    pub async fn open(target: &Arc<Target>, count: usize) -> Result<Self, Failure> {
        let connections = stream::iter(0..count)
            .map(|_| Connection::open(target.clone()))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(Self { connections })
    }

    /// Drives `plan` over all connections and counts into `tally`. Returns when
    /// each call was answered, failed or ran out of its grace.
    ///
    /// # Panics
    /// When a driving task panicked.
    pub async fn run(&mut self, plan: Plan, tally: &SharedTally) {
        let connections = self.connections.len();
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for (index, connection) in self.connections.drain(..).enumerate() {
            let tally = tally.clone();
            let end = start + plan.length;
            let driver = Driver {
                connection,
                tally,
                end,
                last_answer: end + plan.grace,
            };
            match plan.pace {
                Pace::Closed => tasks.spawn(driver.closed_loop()),
                Pace::Open(rate) => {
                    let schedule = Schedule::in_all(rate, connections);
                    let offsets = schedule.intended(index, plan.length);
                    tasks.spawn(driver.open_loop(offsets.map(move |offset| start + offset)))
                }
            };
        }
        self.connections = tasks.join_all().await;
    }

    /// Makes one call on each connection, at most 50 in flight.
    ///
    /// # Errors
    /// The first call that fails.
    pub async fn call_each(&mut self) -> Result<(), Failure> {
        stream::iter(&mut self.connections)
            .map(Connection::call)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Opens a standing stream on each connection, at most 50 at once.
    ///
    /// # Errors
    /// The first that is not offered.
    pub async fn listen_each(&mut self) -> Result<(), Failure> {
        stream::iter(&mut self.connections)
            .map(Connection::listen)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Ends the sessions and closes the connections.
    ///
    /// # Errors
    /// The first session that the server did not end; the others are closed
    /// without a DELETE.
    pub async fn close(self) -> Result<(), Failure> {
        stream::iter(self.connections)
            .map(Connection::close)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }
}

/// One connection's part of a run.
struct Driver {
    connection: Connection,
    tally: SharedTally,
    /// When sending ends.
    end: Instant,
    /// When waiting ends.
    last_answer: Instant,
}

impl Driver {
    async fn closed_loop(mut self) -> Connection {
        let last_answer = self.last_answer;
        if timeout_at(last_answer, self.call_again_and_again())
            .await
            .is_err()
        {
            self.tally.lock().fail(Failure::TimedOut);
        }
        self.connection
    }

    async fn call_again_and_again(&mut self) {
        let mut now = Instant::now();
        while now < self.end {
            let outcome = self.connection.call().await;
            let gone = outcome.as_ref().is_err_and(Failure::is_connection);
            let sent = std::mem::replace(&mut now, Instant::now());
            self.tally.lock().record(outcome, sent, now);
            if gone {
                sleep(RETRY_PAUSE).await;
                now = Instant::now();
            }
        }
    }

    async fn open_loop(mut self, mut due: impl Iterator<Item = Instant>) -> Connection {
        let last_answer = self.last_answer;
        if timeout_at(last_answer, self.call_at(&mut due))
            .await
            .is_err()
        {
            self.tally.lock().fail(Failure::TimedOut);
        }
        let mut tally = self.tally.lock();
        due.for_each(|unsent| tally.skip(self.end - unsent));
        drop(tally);
        self.connection
    }

    /// Calls at the times that are due; stops when the time of sending is over,
    /// because the server kept this connection waiting.
    async fn call_at(&mut self, due: &mut impl Iterator<Item = Instant>) {
        while Instant::now() < self.end
            && let Some(intended) = due.next()
        {
            sleep_until(intended).await;
            let outcome = self.connection.call().await;
            self.tally.lock().record(outcome, intended, Instant::now());
        }
    }
}
