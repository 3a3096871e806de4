//! One worker, watched over its own gRPC port: what it reports, and whether it
//! lives (DESIGN section 8, "Detection").

use std::sync::OnceLock;
use std::time::Duration;

use hexagram_core::{Owner, ShardCount};
use hexagram_proto::WorkerAddress;
use hexagram_proto::admin;
use hexagram_runtime::random::jittered;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tonic::{Code, Streaming};

use crate::fleet::Report;
use crate::visit::{PROBE, Unheard, reports};

/// A worker reports each second; one that missed three is suspect.
const SILENCE: Duration = Duration::from_secs(3);
/// Between two probes of a dead worker: it may have been taken for dead.
const REST: Duration = Duration::from_secs(1);

/// What a watcher finds out.
#[derive(Debug)]
pub(crate) enum Sign {
    /// It lives, and says this.
    Report(Report),
    /// It is silent.
    Silent,
    /// Its process ended, or it failed a probe after its silence.
    Died,
}

pub(crate) struct Watcher {
    pub(crate) owner: Owner,
    pub(crate) address: WorkerAddress,
    pub(crate) cluster: String,
    pub(crate) shards: ShardCount,
    pub(crate) signs: mpsc::Sender<(Owner, Sign)>,
    /// Why it could not be reached, the first time.
    pub(crate) unreached: OnceLock<String>,
    /// What it answered instead of a report, the first time.
    pub(crate) unheard: OnceLock<String>,
}

/// Why a probe failed.
enum Lost {
    /// Nobody listens there, or another process does: the worker is gone.
    Gone,
    Silent,
    /// It lives, and does not talk to this controller: their certificates do not fit.
    Mistrusted,
}

impl Watcher {
    /// Watches until nobody wants to know any more.
    pub(crate) async fn run(self) {
        while !self.signs.is_closed() {
            let lost = match self.probe().await {
                Ok((first, reports)) => match self.follow(first, reports).await {
                    // An end is proof of nothing until the redial.
                    true => continue,
                    false => self.probe_again().await,
                },
                Err(Lost::Gone) => true,
                Err(Lost::Silent) => self.probe_again().await,
                Err(Lost::Mistrusted) => {
                    self.tell(Sign::Silent).await;
                    sleep(jittered(REST)).await;
                    false
                }
            };
            if lost {
                self.tell(Sign::Died).await;
                sleep(jittered(REST)).await;
            }
        }
    }

    /// Suspects the worker; gives whether it fails the probe that decides.
    async fn probe_again(&self) -> bool {
        self.tell(Sign::Silent).await;
        match self.probe().await {
            Ok((first, _)) => {
                self.tell(Sign::Report(first)).await;
                false
            }
            Err(lost) => !matches!(lost, Lost::Mistrusted),
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
            Unheard::Refused(_) => Lost::Gone,
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
            return Err(Lost::Gone);
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
