//! Clients of both eras that go on calling while a scenario runs: `hexagram bench
//! sessions` of the release binary, outside the cluster.
//!
//! How it counts decides what the bars mean. A request is answered when its result
//! arrived. A client whose connection was refused, or closed before anything of the reply
//! came, sends once more on a new connection, as HTTP clients do: answered then, it counts
//! as *retried*. Everything else that did not end in a result is *unanswered*: refused by
//! the server, outcome unknown, broken, timed out. A session is lost when the server says
//! 404 to its id. A stream ends *resumably* when the server told how to go on (an event
//! id, or a subscription's result); otherwise it is broken.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::json;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::setting::Setting;

/// A scenario ends before.
const LONGEST: Duration = Duration::from_secs(1800);
/// All clients have a session and a stream by then.
const OPENING: Duration = Duration::from_secs(120);
/// What a change has broken shows by then.
const AFTER: Duration = Duration::from_secs(5);
/// The last answers and the ends of all sessions may take that.
const ENDING: Duration = Duration::from_secs(120);

/// The running load.
#[derive(Debug)]
pub struct Load {
    child: Child,
    /// For all that the load reports.
    file: PathBuf,
    told: watch::Receiver<usize>,
}

/// What the clients do.
#[derive(Debug, Clone, PartialEq)]
pub struct Drive {
    /// Of each era.
    pub clients: u32,
    /// Calls a second of each.
    pub rate: f64,
    /// What each call sends and gets back.
    pub message: String,
}

impl Drive {
    fn of(setting: &Setting) -> Self {
        Self {
            clients: setting.clients,
            rate: setting.rate,
            message: "e2e".to_owned(),
        }
    }
}

/// What all clients together saw.
#[derive(Debug, Clone, Deserialize)]
pub struct Figures {
    /// How long calls were sent.
    pub seconds: f64,
    /// Of both eras.
    pub total: Counts,
    /// Of clients with sessions.
    pub legacy: Counts,
    /// Of clients without.
    pub modern: Counts,
    /// The longest time in which no client had an answer.
    pub outage_ms: f64,
    /// Second by second, from the first call on.
    #[serde(default)]
    pub timeline: Vec<Moment>,
}

/// What came of calls in one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Moment {
    /// Its number.
    pub second: u64,
    /// Requests that did not end in a result.
    pub failed: u64,
}

/// What the clients of an era saw.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Counts {
    pub sent: u64,
    pub answered: u64,
    pub retried: u64,
    pub refused: u64,
    pub refused_by: Vec<Reason>,
    pub unknown: u64,
    pub failed: u64,
    pub failed_by: Vec<Reason>,
    pub lost: u64,
    pub unsent: u64,
    pub latency_ms: Latency,
    pub sessions: Sessions,
    pub streams: Streams,
}

/// Why requests were not answered.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Reason {
    #[serde(alias = "failure")]
    message: String,
    count: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Sessions {
    pub opened: u64,
    pub lost: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Streams {
    pub opened: u64,
    pub reopened: u64,
    pub ended: u64,
    pub broken: u64,
    pub failed: u64,
    pub failed_by: Vec<Reason>,
    pub longest_gap_ms: f64,
}

impl Load {
    /// Starts it, and waits until all clients have opened and called for a while. What it
    /// says of its progress goes to `NAME.load.log`, its whole report to `NAME.load.json`.
    ///
    /// # Errors
    /// When it does not start, or the endpoint cannot be used.
    pub async fn start(setting: &Setting, name: &str) -> Result<Self> {
        Self::start_as(setting, name, &Drive::of(setting)).await
    }

    /// As [`Load::start`], with clients that do something else.
    ///
    /// # Errors
    /// As [`Load::start`].
    pub async fn start_as(setting: &Setting, name: &str, drive: &Drive) -> Result<Self> {
        let mut load = Self::spawn(setting, name, drive, LONGEST).await?;
        timeout(OPENING, load.told.wait_for(|told| *told > 0))
            .await
            .context("the load has not begun")?
            .map(|_| ())
            .with_context(|| format!("the load ended at once: read {name}.load.log"))?;
        Ok(load)
    }

    async fn spawn(setting: &Setting, name: &str, drive: &Drive, length: Duration) -> Result<Self> {
        let log = setting.folder.join(format!("{name}.load.log"));
        let log = File::create(&log)
            .await
            .with_context(|| format!("create {}", log.display()))?;
        let mut child = command(setting, drive, length)
            .spawn()
            .with_context(|| format!("start {}", setting.binary.display()))?;
        let progress = child.stderr.take().context("its stderr is piped")?;
        let (tell, told) = watch::channel(0);
        tokio::spawn(follow(progress, log, tell));
        let file = setting.folder.join(format!("{name}.load.json"));
        Ok(Self { child, file, told })
    }

    /// Ends it some seconds from now.
    ///
    /// # Errors
    /// When it reports nothing.
    pub async fn end(self) -> Result<Figures> {
        // No condition to wait for: that nothing comes is what is to be seen.
        sleep(AFTER).await;
        let id = self
            .child
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()));
        // Without an id it has ended by itself, and its report says why.
        if let Some(id) = id {
            kill_process(id, Signal::INT).context("end the load")?;
        }
        self.report(ENDING).await
    }

    async fn report(self, limit: Duration) -> Result<Figures> {
        let output = timeout(limit, self.child.wait_with_output()).await;
        let output = output.context("the load does not end")??;
        tokio::fs::write(&self.file, &output.stdout).await?;
        // Its exit code says that somebody noticed something: so does the report.
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("the load ended with {} and no report", output.status))
    }

    /// Loads for a time and changes nothing meanwhile.
    ///
    /// # Errors
    /// When it does not start or reports nothing.
    pub async fn whole(setting: &Setting, name: &str) -> Result<Figures> {
        let length = Duration::from_secs(setting.seconds);
        let load = Self::spawn(setting, name, &Drive::of(setting), length).await?;
        load.report(OPENING + length + ENDING).await
    }
}

fn command(setting: &Setting, drive: &Drive, length: Duration) -> Command {
    let mut command = Command::new(&setting.binary);
    for (name, _) in std::env::vars_os() {
        // Our variables would be settings of the binary.
        if name.to_string_lossy().starts_with("HEXAGRAM_") {
            command.env_remove(name);
        }
    }
    command
        .args(["bench", "sessions", "--output=json", "--tool=echo"])
        .arg(format!("--arguments={}", json!({"message": drive.message})))
        .arg(format!("--url={}", setting.url))
        .arg(format!("--legacy={}", drive.clients))
        .arg(format!("--modern={}", drive.clients))
        .arg(format!("--rate={}", drive.rate))
        .arg(format!("--seconds={}", length.as_secs()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Keeps what the load says, and counts the lines that it says while it calls.
async fn follow(progress: ChildStderr, mut log: File, tell: watch::Sender<usize>) {
    let mut lines = BufReader::new(progress).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        tell.send_modify(|told| *told += usize::from(line.starts_with("load ")));
        // A log that cannot be written is no reason to end the load.
        let _ = log.write_all(format!("{line}\n").as_bytes()).await;
    }
    let _ = log.flush().await;
}

impl Figures {
    /// From the first second in which a request failed to the last one, both included.
    #[must_use]
    pub fn recovery(&self) -> Duration {
        let failing = || self.timeline.iter().filter(|second| second.failed > 0);
        let (first, last) = (failing().next(), failing().next_back());
        let seconds = first.zip(last);
        let seconds = seconds.map(|(first, last)| last.second - first.second + 1);
        Duration::from_secs(seconds.unwrap_or_default())
    }
}

impl Counts {
    /// Requests that did not end in a result.
    #[must_use]
    pub fn unanswered(&self) -> u64 {
        self.refused + self.unknown + self.failed + self.lost
    }

    /// Why, each with its count.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        let all = [&self.refused_by, &self.failed_by, &self.streams.failed_by];
        let counted = all.into_iter().flatten();
        let counted = counted.map(|reason| (reason.count, reason.message.as_str()));
        let unknown = [
            (self.unknown, "outcome unknown"),
            (self.lost, "no answer until the end of the load"),
        ];
        let unknown = unknown.into_iter().filter(|(count, _)| *count > 0);
        let reasons = counted.chain(unknown);
        reasons
            .map(|(count, what)| format!("{count} x {what}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_load_reports() {
        let refused = json!([{"status": 404, "code": -32001, "reason": null, "message": "HTTP 404", "count": 2}]);
        let total = json!({
            "sent": 9, "answered": 6, "retried": 1, "refused": 2, "refused_by": refused, "unknown": 1,
            "latency_ms": {"p50": 1.0, "p90": 2.0, "p99": 3.0, "p999": 3.5, "max": 4.0},
            "sessions": {"opened": 4, "lost": 2, "not_deleted": 0},
            "streams": {"opened": 4, "broken": 1, "failed_by": [{"failure": "no", "count": 1}]},
        });
        let figures: Figures = serde_json::from_value(json!({
            "ok": false, "seconds": 3.0, "total": total, "legacy": total, "modern": {}, "outage_ms": 12.0,
            "timeline": [
                {"second": 4, "answered": 9, "failed": 0}, {"second": 5, "answered": 0, "failed": 2},
                {"second": 6, "answered": 9, "failed": 0}, {"second": 7, "answered": 9, "failed": 1},
            ],
        }))
        .unwrap();
        assert_eq!(figures.total.unanswered(), 3);
        assert_eq!(
            figures.total.reasons(),
            ["2 x HTTP 404", "1 x no", "1 x outcome unknown"]
        );
        assert_eq!(figures.total.streams.broken, 1);
        assert_eq!(figures.modern, Counts::default());
        assert_eq!(figures.recovery(), Duration::from_secs(3));
    }

    #[test]
    fn the_load_is_that_of_the_setting() {
        let setting = crate::setting::tests::setting("http://127.0.0.1:1/mcp");
        let command = command(&setting, &Drive::of(&setting), Duration::from_secs(7));
        let args: Vec<_> = command
            .as_std()
            .get_args()
            .map(|arg| arg.to_string_lossy())
            .collect();
        for expected in ["--legacy=50", "--modern=50", "--rate=1", "--seconds=7"] {
            assert!(
                args.iter().any(|arg| arg == expected),
                "{expected} in {args:?}"
            );
        }
    }
}
