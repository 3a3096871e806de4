//! The server a target is compared with: a bare server started as a child, or
//! one that runs already.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::args::ReferenceArgs;

const START_LIMIT: Duration = Duration::from_secs(10);

/// A running reference server.
#[derive(Debug)]
pub(crate) struct Reference {
    pub(crate) url: String,
    pub(crate) pids: Vec<u32>,
    child: Option<Child>,
}

impl Reference {
    /// Takes the server that `args` name, or starts a bare one: this program
    /// again, as `bench bare`.
    pub(crate) async fn start(args: &ReferenceArgs) -> anyhow::Result<Self> {
        match &args.bare_url {
            Some(url) => Ok(Self {
                url: url.clone(),
                pids: args.bare_pids.clone(),
                child: None,
            }),
            None => start_child().await.context("cannot start the bare server"),
        }
    }

    /// Ends the child, if there is one.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(child) = &mut self.child {
            child.kill().await.context("cannot end the bare server")?;
        }
        Ok(())
    }
}

async fn start_child() -> anyhow::Result<Reference> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["bench", "bare", "--with-parent"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let pid = child.id().context("it ended at once")?;
    let stdout = child.stdout.take().context("it has no output")?;
    let url = timeout(START_LIMIT, first_line(stdout))
        .await
        .context("it did not print its URL in 10 s")??;
    Ok(Reference {
        url,
        pids: vec![pid],
        child: Some(child),
    })
}

async fn first_line(stdout: ChildStdout) -> anyhow::Result<String> {
    match BufReader::new(stdout).lines().next_line().await? {
        Some(line) => Ok(line),
        None => bail!("it ended before it printed its URL"),
    }
}
