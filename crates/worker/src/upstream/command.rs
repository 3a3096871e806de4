//! Upstreams that are started as a child process and speak MCP on its
//! standard input and output (MCP transports, "stdio").

use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::codec::{FramedRead, LinesCodec};
use tokio_util::sync::CancellationToken;

use super::duplex::Duplex;
use super::{ChildLimit, UpstreamError, UpstreamLimits};

const QUEUE: usize = 64;
/// A child may take this long to end after each step: closed input, SIGTERM.
const PATIENCE: Duration = Duration::from_secs(2);

/// Starts one child for each client session.
pub(super) struct Launcher {
    line: String,
    limits: UpstreamLimits,
    children: ChildLimit,
}

impl Launcher {
    pub(super) fn new(line: String, limits: UpstreamLimits, children: ChildLimit) -> Self {
        Self {
            line,
            limits,
            children,
        }
    }

    pub(super) fn launch(&self) -> Result<Duplex, UpstreamError> {
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
        let duplex = Duplex::new(to_child, from_child);
        tokio::spawn(read(stdout, incoming, self.limits.max_message));
        tokio::spawn(run(child, stdin, outgoing, duplex.closing(), permit));
        Ok(duplex)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(format!("exec {}", self.line))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            // A group of its own: launchers such as npx start further processes.
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

/// Passes on the child's lines until it ends.
async fn read(stdout: ChildStdout, incoming: mpsc::Sender<Bytes>, max_message: usize) {
    let codec = LinesCodec::new_with_max_length(max_message);
    let mut lines = FramedRead::new(stdout, codec);
    while let Some(line) = lines.next().await {
        match line {
            Ok(line) if line.trim().is_empty() => {}
            Ok(line) => {
                if incoming.send(Bytes::from(line)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a stdio upstream sent an unusable line");
                return;
            }
        }
    }
}

/// Feeds the child until the session closes or the child ends, then sees to its end.
async fn run(
    mut child: Child,
    mut stdin: ChildStdin,
    mut outgoing: mpsc::Receiver<Bytes>,
    closing: CancellationToken,
    _permit: OwnedSemaphorePermit,
) {
    let group = child
        .id()
        .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    loop {
        tokio::select! {
            () = closing.cancelled() => break,
            _ = child.wait() => break,
            message = outgoing.recv() => match message {
                Some(message) if write(&mut stdin, &message).await.is_ok() => {}
                _ => break,
            },
        }
    }
    drop(stdin);
    end(&mut child, group).await;
}

/// Closed input lets a well-behaved server end; the others get signals.
async fn end(child: &mut Child, group: Option<Pid>) {
    for signal in [Signal::TERM, Signal::KILL] {
        if tokio::time::timeout(PATIENCE, child.wait()).await.is_ok() {
            break;
        }
        kill(group, signal);
    }
    // The leader is gone; what it started may not be.
    kill(group, Signal::KILL);
}

fn kill(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // Fails when the whole group has ended, which is what is wanted.
        let _ = kill_process_group(group, signal);
    }
}

async fn write(stdin: &mut ChildStdin, message: &[u8]) -> std::io::Result<()> {
    // Newlines delimit messages; in JSON they are only white space.
    let line: Vec<u8> = message
        .iter()
        .map(|byte| {
            if matches!(byte, b'\n' | b'\r') {
                b' '
            } else {
                *byte
            }
        })
        .chain([b'\n'])
        .collect();
    stdin.write_all(&line).await?;
    stdin.flush().await
}
