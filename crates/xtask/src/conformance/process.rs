//! A Hexagram process with its log, which ends when its owner drops it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// A process that is not ready by then hangs.
const DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks at a process that is not ready.
const PAUSE: Duration = Duration::from_millis(50);
/// Of the log of a process that failed, this many lines are shown.
const TAIL: usize = 20;

/// A running process.
pub(super) struct Process {
    name: String,
    child: Child,
    binary: PathBuf,
    admin: SocketAddr,
    log: PathBuf,
}

impl Process {
    /// Starts `binary` with an admin address and these arguments.
    pub(super) fn start(
        binary: &Path,
        logs: &Path,
        name: &str,
        admin: SocketAddr,
        args: impl IntoIterator<Item = OsString>,
    ) -> Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let mut command = hexagram(binary);
        command
            .args(args)
            .arg(format!("--admin={admin}"))
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let child = command
            .spawn()
            .with_context(|| format!("start {}", binary.display()))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            binary: binary.to_owned(),
            admin,
            log,
        })
    }

    /// Waits until it serves and all its links are up.
    ///
    /// # Errors
    /// With the end of its log, when it ended instead or hangs.
    pub(super) async fn ready(&mut self) -> Result<()> {
        let start = Instant::now();
        while !is_ready(&self.status().await?) {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}:\n{}", self.name, self.tail());
            }
            let waiting = start.elapsed() < DEADLINE;
            ensure!(waiting, "{} hangs:\n{}", self.name, self.tail());
            sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn status(&self) -> Result<Value> {
        ask(&self.binary, self.admin).await
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it had ended by itself, or panicked: nothing that a client sends
    /// may do that.
    pub(super) async fn end(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended with {status}:\n{}", self.name, self.tail());
        }
        self.child.kill().await?;
        let panicked = self.log().contains("panicked at");
        ensure!(
            !panicked,
            "{} panicked: see {}",
            self.name,
            self.log.display()
        );
        Ok(())
    }

    fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }
}

/// What the process at `admin` says of itself; null while it says nothing.
pub(super) async fn ask(binary: &Path, admin: SocketAddr) -> Result<Value> {
    let mut command = hexagram(binary);
    command.args(["status", "--output=json"]);
    command.arg(format!("--admin={admin}"));
    let output = command.output().await.context("ask for the status")?;
    Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
}

/// The binary, without the settings that our caller may have.
pub(super) fn hexagram(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HEXAGRAM_") {
            command.env_remove(name);
        }
    }
    command.kill_on_drop(true);
    command
}

/// A worker has no links of its own: it is ready when it says anything. An edge has some
/// once it has a map.
fn is_ready(status: &Value) -> bool {
    let links = status["links"].as_array();
    let up = |link: &Value| link["up"] == true;
    !status.is_null() && links.is_none_or(|links| !links.is_empty() && links.iter().all(up))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn is_ready_when_all_links_are_up() {
        let edge = |ups: &[bool]| {
            let links: Vec<_> = ups.iter().map(|up| json!({"up": up})).collect();
            is_ready(&json!({"role": "edge", "links": links}))
        };
        assert!(edge(&[true, true]));
        assert!(!edge(&[true, false]));
        assert!(!edge(&[]));
        assert!(is_ready(&json!({"role": "worker"})));
        assert!(!is_ready(&Value::Null));
    }
}
