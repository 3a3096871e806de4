//! One worker, watched over its own gRPC port: what it reports, and whether it
//! lives (DESIGN section 8, "Detection"; ADR 0027).

use std::sync::OnceLock;
use std::time::Duration;

use hexagram_core::{Owner, ShardCount};
use hexagram_proto::WorkerAddress;
use hexagram_proto::admin;
use hexagram_runtime::random::jittered;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::{Code, Streaming};

use crate::fleet::Report;
use crate::visit::{PROBE, Unheard, reports};

/// A worker reports each second; one that missed three is suspect.
const SILENCE: Duration = Duration::from_secs(3);
/// One that this controller never heard fails its probes for so long before it is dead: the
/// network may not let them through yet, or refuse them.
const PATIENCE: Duration = Duration::from_secs(4);
/// After the first failed probe of one that was heard: a process that ends resets its last
/// connections before its port refuses.
const BREATH: Duration = Duration::from_millis(100);
/// Between two probes that fail at once, and of a dead worker: it may have been taken for dead.
pub(crate) const REST: Duration = Duration::from_secs(1);

/// What a watcher finds out.
#[derive(Debug)]
pub(crate) enum Sign {
    /// It lives, and says this.
    Report(Report),
    /// It is silent.
    Silent,
    /// It is dead, by this.
    Died(Death),
}

/// By what a worker is known to be dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// Nobody listens where it was heard, or another process does.
    Refused,
    /// It failed the probes after its silence: it may be cut off from who asks.
    Silent,
}

pub(crate) struct Watcher {
    pub(crate) owner: Owner,
    pub(crate) address: WorkerAddress,
    pub(crate) cluster: String,
    pub(crate) shards: ShardCount,
    pub(crate) signs: mpsc::Sender<(Owner, Sign)>,
    /// Whether this controller has heard it: then a refusal is proof that it ended.
    pub(crate) heard: bool,
    /// Why it could not be reached, the first time.
    pub(crate) unreached: OnceLock<String>,
    /// What it answered instead of a report, the first time.
    pub(crate) unheard: OnceLock<String>,
}

/// Why a probe failed.
enum Lost {
    /// Nobody listens there.
    Refused,
    /// Another process answers there: the worker is gone.
    Replaced,
    Silent,
    /// It lives, and does not talk to this controller: their certificates do not fit.
    Mistrusted,
}

impl Watcher {
    /// Watches until nobody wants to know any more.
    pub(crate) async fn run(mut self) {
        while !self.signs.is_closed() {
            if let Some(death) = self.look().await {
                self.tell(Sign::Died(death)).await;
                sleep(jittered(REST)).await;
            }
        }
    }

    /// Watches the worker for as long as it reports; gives by what it is dead then, if it is.
    async fn look(&mut self) -> Option<Death> {
        let tried = Instant::now();
        let lost = match self.probe().await {
            Ok((first, reports)) => return self.listen(first, reports).await,
            Err(lost) => lost,
        };
        if self.is_proof(&lost) {
            return Some(Death::Refused);
        }
        self.tell(Sign::Silent).await;
        sleep_until(tried + self.rest_after(&lost)).await;
        match lost {
            Lost::Mistrusted => None,
            _ => self.probe_again(tried).await,
        }
    }

    const fn rest_after(&self, lost: &Lost) -> Duration {
        match lost {
            Lost::Mistrusted => REST,
            _ if self.heard => BREATH,
            _ => REST,
        }
    }

    async fn listen(&mut self, first: Report, reports: Streaming<admin::Report>) -> Option<Death> {
        self.heard = true;
        if self.follow(first, reports).await {
            // An end is proof of nothing until the redial.
            return None;
        }
        let since = Instant::now();
        self.tell(Sign::Silent).await;
        self.probe_again(since).await
    }

    /// Whether a failed probe alone says that the worker is dead. A refusal may be that of a
    /// network which does not know this controller yet.
    const fn is_proof(&self, lost: &Lost) -> bool {
        match lost {
            Lost::Replaced => true,
            Lost::Refused => self.heard,
            Lost::Silent | Lost::Mistrusted => false,
        }
    }

    /// Probes a worker that is silent `since` then; gives by what it is dead once it has
    /// failed for long enough.
    async fn probe_again(&mut self, since: Instant) -> Option<Death> {
        let enough = if self.heard { PROBE } else { PATIENCE };
        loop {
            let tried = Instant::now();
            let lost = match self.probe().await {
                Ok((first, _)) => {
                    self.heard = true;
                    self.tell(Sign::Report(first)).await;
                    return None;
                }
                Err(Lost::Mistrusted) => return None,
                Err(lost) => lost,
            };
            if self.is_proof(&lost) {
                return Some(Death::Refused);
            }
            if since.elapsed() >= enough {
                return Some(Death::Silent);
            }
            sleep_until(tried + REST).await;
        }
    }

    async fn probe(&self) -> Result<(Report, Streaming<admin::Report>), Lost> {
        timeout(PROBE, self.connect())
            .await
            .unwrap_or(Err(Lost::Silent))
    }

    async fn connect(&self) -> Result<(Report, Streaming<admin::Report>), Lost> {
        let asked = reports(&self.address, &self.cluster, self.shards).await;
        let (first, reports) = asked.map_err(|unheard| match unheard {
            Unheard::Refused(_) => Lost::Refused,
            Unheard::Unreached(_) => self.unreached(&unheard),
            Unheard::Mistrusted(_) => {
                self.unreached(&unheard);
                Lost::Mistrusted
            }
            Unheard::Empty => Lost::Silent,
            // It takes links over TLS only, or of another role.
            Unheard::Answered(status) if status.code() == Code::PermissionDenied => {
                self.unheard(&status);
                Lost::Mistrusted
            }
            Unheard::Answered(status) => self.unheard(&status),
        })?;
        Ok((self.read(&first)?, reports))
    }

    /// It may be a network that is cut, or links that do not go together: whoever looks why
    /// a worker counts as dead finds it here.
    fn unreached(&self, error: &Unheard) -> Lost {
        if self.unreached.set(error.to_string()).is_ok() {
            tracing::warn!(worker = %self.owner, %error, "a worker cannot be watched");
        }
        Lost::Silent
    }

    fn unheard(&self, status: &tonic::Status) -> Lost {
        if self.unheard.set(status.message().to_owned()).is_ok() {
            tracing::warn!(worker = %self.owner, %status, "a worker does not report");
        }
        Lost::Silent
    }

    fn read(&self, report: &admin::Report) -> Result<Report, Lost> {
        let named = report.name == self.owner.worker.as_str();
        if !named || report.incarnation != self.owner.incarnation.get() {
            return Err(Lost::Replaced);
        }
        Report::read(report, self.shards).map_err(|error| {
            tracing::warn!(worker = %self.owner, %error, "a worker's report makes no sense");
            Lost::Silent
        })
    }

    /// Passes the reports on; gives whether their stream ended, rather than fell
    /// silent.
    async fn follow(&self, first: Report, mut reports: Streaming<admin::Report>) -> bool {
        self.tell(Sign::Report(first)).await;
        loop {
            match timeout(SILENCE, reports.message()).await {
                Err(_) => return false,
                Ok(Ok(None) | Err(_)) => return true,
                Ok(Ok(Some(report))) => match self.read(&report) {
                    Ok(report) => self.tell(Sign::Report(report)).await,
                    Err(_) => return false,
                },
            }
        }
    }

    async fn tell(&self, sign: Sign) {
        // A controller that ended needs no more signs.
        let _ = self.signs.send((self.owner.clone(), sign)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::sync::atomic::{AtomicBool, Ordering};

    use hexagram_proto::Connector;
    use tokio::io::DuplexStream;
    use tokio_util::task::AbortOnDropHandle;

    use super::*;
    use crate::testing::{count, owner};

    /// By what a worker is found dead whose dials fail so, and after how long.
    async fn found(heard: bool, kind: ErrorKind) -> (Death, Duration) {
        let fails = move || async move { Err::<DuplexStream, _>(kind.into()) };
        dead(heard, Connector::new("here".to_owned(), fails)).await
    }

    async fn dead(heard: bool, connector: Connector) -> (Death, Duration) {
        let (signs, mut told) = mpsc::channel(16);
        let watcher = Watcher {
            owner: owner(0, 1),
            address: WorkerAddress::By(connector),
            cluster: "c".to_owned(),
            shards: count(1),
            signs,
            heard,
            unreached: OnceLock::new(),
            unheard: OnceLock::new(),
        };
        let start = Instant::now();
        let _watches = AbortOnDropHandle::new(tokio::spawn(watcher.run()));
        loop {
            let (_, sign) = told.recv().await.expect("it watches");
            if let Sign::Died(death) = sign {
                return (death, start.elapsed());
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_heard_and_refuses_is_dead_at_once() {
        let (death, after) = found(true, ErrorKind::ConnectionRefused).await;
        assert_eq!(death, Death::Refused);
        assert!(after < PROBE, "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_cannot_be_reached_is_asked_again_a_while_later() {
        let (death, after) = found(true, ErrorKind::HostUnreachable).await;
        assert_eq!(death, Death::Silent);
        assert!(after >= REST && after < REST + PROBE, "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_heard_and_ends_its_last_connection_is_asked_again_at_once() {
        let ends = AtomicBool::new(true);
        let fails = move || {
            let kind = match ends.swap(false, Ordering::SeqCst) {
                true => ErrorKind::BrokenPipe,
                false => ErrorKind::ConnectionRefused,
            };
            async move { Err::<DuplexStream, _>(kind.into()) }
        };
        let (death, after) = dead(true, Connector::new("here".to_owned(), fails)).await;
        assert_eq!(death, Death::Refused);
        assert!(after >= BREATH && after < 2 * BREATH, "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_never_heard_is_given_longer_also_where_it_refuses() {
        for kind in [ErrorKind::ConnectionRefused, ErrorKind::HostUnreachable] {
            let (death, after) = found(false, kind).await;
            assert_eq!(death, Death::Silent, "its refusal is no proof");
            assert!(after >= PATIENCE, "{after:?}");
            assert!(after < PATIENCE + REST, "{after:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_answer_is_dead_as_soon() {
        let hangs = || std::future::pending::<std::io::Result<DuplexStream>>();
        let (death, after) = dead(false, Connector::new("here".to_owned(), hangs)).await;
        assert_eq!(death, Death::Silent);
        assert!(after >= PATIENCE && after < PATIENCE + REST, "{after:?}");
    }
}
