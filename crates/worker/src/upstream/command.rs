//! Upstreams that are started as a child process and speak MCP on its
//! standard input and output (MCP transports, "stdio").

#[cfg(test)]
mod tests;

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use hexagram_mcp::unbreak;
use hexagram_upstreams::UpstreamName;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};
use tokio_util::sync::CancellationToken;

use super::duplex::Duplex;
use super::restarts::Restarts;
use super::{ChildLimit, UpstreamError, UpstreamLimits};

/// Messages that wait on either side of a child.
const QUEUE: usize = 64;
/// A child may take this long to end after each step: closed input, SIGTERM.
const PATIENCE: Duration = Duration::from_secs(2);

/// Starts one child for each client session.
pub(super) struct Launcher {
    name: UpstreamName,
    line: String,
    limits: Mutex<UpstreamLimits>,
    children: ChildLimit,
    restarts: Arc<Restarts>,
}

impl Launcher {
    pub(super) fn new(
        name: UpstreamName,
        line: String,
        limits: UpstreamLimits,
        children: ChildLimit,
    ) -> Self {
        Self {
            name,
            line,
            limits: Mutex::new(limits),
            children,
            restarts: Arc::default(),
        }
    }

    pub(super) fn line(&self) -> &str {
        &self.line
    }

    pub(super) fn limits(&self) -> UpstreamLimits {
        *self.limits.lock()
    }

    /// For children started from now on.
    pub(super) fn set_limits(&self, limits: UpstreamLimits) {
        *self.limits.lock() = limits;
    }

    /// Starts a child, unless too many of its kind have just failed.
    pub(super) fn launch(&self) -> Result<Duplex, UpstreamError> {
        self.restarts.may_start().map_err(|(times, wait)| {
            let seconds = wait.as_secs() + 1;
            UpstreamError::Unreachable(format!(
                "its command ended {times} times in a row before it was ready; \
                 it is started again in {seconds} s"
            ))
        })?;
        let permit = self.children.acquire()?;
        let mut child = self.command().spawn().map_err(|error| {
            UpstreamError::Unreachable(format!("cannot run {:?}: {error}", self.line))
        })?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(UpstreamError::Unreachable(
                "the child has no pipes".to_owned(),
            ));
        };
        let (to_child, outgoing) = mpsc::channel(QUEUE);
        let (incoming, from_child) = mpsc::channel(QUEUE);
        let limits = self.limits();
        let duplex = Duplex::new(to_child, from_child, limits.silence);
        let running = Running {
            name: self.name.clone(),
            restarts: Arc::clone(&self.restarts),
            group: Group::of(&child),
            child,
            _permit: permit,
        };
        let codec = LinesCodec::new_with_max_length(limits.max_message);
        let lines = FramedRead::new(stdout, codec);
        tokio::spawn(running.converse(stdin, outgoing, lines, incoming, duplex.closing()));
        Ok(duplex)
    }

    /// Notes how the handshake of a child ended that was started at `since`.
    pub(super) fn started(&self, since: Instant, failed: Option<&UpstreamError>) {
        let upstream = self.name.as_str();
        match failed {
            None if self.restarts.ready() => {
                tracing::info!(upstream, "its command runs again");
            }
            Some(UpstreamError::Unreachable(_) | UpstreamError::Broken(_))
                if self.restarts.failed(since) =>
            {
                tracing::warn!(
                    upstream,
                    "its command keeps ending before it is ready: \
                     it is started again with growing pauses"
                );
            }
            // One that refuses a client's handshake is there.
            _ => {}
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(&self.line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Its log is part of ours; inherited, no line of it waits for us
            // or is lost with us.
            .stderr(Stdio::inherit())
            // A group of its own: launchers such as npx start further processes.
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

/// A child's process group; dropped, all of it is killed, also when the
/// runtime ends and takes the child's task with it. None once it was killed:
/// the system may give the id to others then.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // Fails when the whole group has ended, which is what is wanted.
            let _ = kill_process_group(group, signal);
        }
    }

    fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A child while it runs, counted against the limit.
struct Running {
    // First: killed before it is no longer counted.
    group: Group,
    child: Child,
    name: UpstreamName,
    restarts: Arc<Restarts>,
    _permit: OwnedSemaphorePermit,
}

type Lines = FramedRead<ChildStdout, LinesCodec>;

impl Running {
    /// Carries messages until the session closes or the child ends, stops
    /// reading or writes what cannot be read; then sees to the child's end.
    async fn converse(
        mut self,
        stdin: ChildStdin,
        outgoing: mpsc::Receiver<Bytes>,
        lines: Lines,
        incoming: mpsc::Sender<Bytes>,
        closing: CancellationToken,
    ) {
        let reading = read(lines, incoming);
        tokio::pin!(reading);
        let all_read = tokio::select! {
            () = &mut reading => true,
            () = feed(stdin, outgoing) => false,
            () = closing.cancelled() => false,
            _ = self.child.wait() => false,
        };
        if !closing.is_cancelled() && !self.restarts.is_pausing() {
            tracing::warn!(
                upstream = self.name.as_str(),
                "its command ended: it is started again for its client's next request"
            );
        }
        let rest = async {
            if !all_read {
                reading.await;
            }
        };
        // What it still writes is read, so that it can end; but one that left
        // the group may hold the pipe for ever.
        let rest = tokio::time::timeout(3 * PATIENCE, rest);
        let (_, ()) = tokio::join!(rest, self.end());
    }

    /// Closed input lets a well-behaved server end; the others get signals.
    async fn end(&mut self) {
        let patience = || tokio::time::sleep(PATIENCE);
        tokio::select! {
            _ = self.child.wait() => {}
            () = patience() => self.group.signal(Signal::TERM),
        }
        tokio::select! {
            _ = self.child.wait() => {}
            () = patience() => {}
        }
        // Also when the leader is gone: what it started may not be.
        self.group.kill();
    }
}

/// Passes on the child's lines until it closes its output.
async fn read(
    mut lines: impl Stream<Item = Result<String, LinesCodecError>> + Unpin,
    incoming: mpsc::Sender<Bytes>,
) {
    while let Some(line) = lines.next().await {
        match line {
            Ok(line) if line.trim().is_empty() => {}
            Ok(line) => {
                if incoming.send(Bytes::from(line)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                return tracing::error!(%error, "a stdio upstream wrote an unusable line; its session ends");
            }
        }
    }
}

/// Feeds the child until it or the session is closed.
async fn feed(mut stdin: ChildStdin, mut outgoing: mpsc::Receiver<Bytes>) {
    while let Some(message) = outgoing.recv().await {
        if let Err(error) = write(&mut stdin, &message).await {
            return tracing::debug!(%error, "a stdio upstream does not read");
        }
    }
}

async fn write(stdin: &mut ChildStdin, message: &[u8]) -> std::io::Result<()> {
    // Newlines delimit messages.
    let mut line = [message, b"\n"].concat();
    unbreak(&mut line[..message.len()]);
    stdin.write_all(&line).await?;
    stdin.flush().await
}
