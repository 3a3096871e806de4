//! The official clients of both eras, unmodified: the scripts of `crates/hexagram/tests`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::command;
use crate::setting::Setting;

/// Interpreters start slowly on a machine that runs a cluster as well.
const LIMIT: Duration = Duration::from_secs(240);

/// Interpreter (by the variable that names it), script and arguments.
type Client = (&'static str, &'static str, &'static [&'static str]);

/// Of each SDK the clients that it has. The demo server has what `--tools-only` asks for.
const CLIENTS: [Client; 6] = [
    ("HEXAGRAM_NODE", "legacy.mjs", &[]),
    ("HEXAGRAM_NODE", "modern.mjs", &["legacy"]),
    ("HEXAGRAM_NODE", "modern.mjs", &["auto"]),
    ("HEXAGRAM_PYTHON", "client.py", &["legacy"]),
    ("HEXAGRAM_PYTHON", "client.py", &["auto"]),
    ("HEXAGRAM_PYTHON_1", "legacy.py", &["legacy"]),
];

/// Every client connects, lists the tools and calls one; `CLIENT (VERSION)` of each.
///
/// # Errors
/// Naming the client that failed, with what it said.
pub async fn tour(setting: &Setting) -> Result<Vec<String>> {
    let runs: JoinSet<_> = CLIENTS
        .iter()
        .map(|client| run(*client, setting.clone()))
        .collect();
    let mut seen: Vec<_> = runs.join_all().await.into_iter().collect::<Result<_>>()?;
    seen.sort();
    Ok(seen)
}

/// What official clients do instead: one call after the other, each of which tells of its
/// steps.
#[derive(Debug, Clone, Copy)]
pub struct Countdown {
    client: Client,
    steps: u32,
    step: Duration,
    /// For so long another one is begun.
    lasts: Duration,
}

/// What one or more of these clients saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Counted {
    /// Calls that told of every step, once and in order, and ended with their result.
    pub countdowns: u64,
    /// How often a stream was opened again behind its last event.
    pub resumed: u64,
}

impl Countdown {
    /// By a client without a session, which cannot resume: one after the other for so long.
    #[must_use]
    pub const fn modern(steps: u32, step: Duration, lasts: Duration) -> Self {
        Self {
            client: ("HEXAGRAM_NODE", "modern.mjs", &["auto"]),
            steps,
            step,
            lasts,
        }
    }

    /// By a client with a session, once.
    #[must_use]
    pub const fn legacy(steps: u32, step: Duration) -> Self {
        Self {
            client: ("HEXAGRAM_NODE", "legacy.mjs", &[]),
            steps,
            step,
            lasts: Duration::ZERO,
        }
    }

    /// So many clients count down at the same time.
    ///
    /// # Errors
    /// When a call fails, or a step of one is missing, told twice or out of order.
    pub async fn run(self, setting: &Setting, clients: usize) -> Result<Counted> {
        let runs: JoinSet<_> = (0..clients).map(|_| self.one(setting.clone())).collect();
        let mut all = Counted::default();
        for counted in runs.join_all().await {
            let counted = counted?;
            all.countdowns += counted.countdowns;
            all.resumed += counted.resumed;
        }
        Ok(all)
    }

    async fn one(self, setting: Setting) -> Result<Counted> {
        let mut command = command_of(self.client, &setting)?;
        command
            .arg(format!("--countdown={}", self.steps))
            .arg(format!("--step-ms={}", self.step.as_millis()))
            .arg(format!("--loop={}", self.lasts.as_secs()));
        report(&mut command).await
    }
}

async fn run(client: Client, setting: Setting) -> Result<String> {
    let (_, script, _) = client;
    let mut command = command_of(client, &setting)?;
    let line: Value = report(command.arg("--tools-only")).await?;
    ensure!(line["echo"] == 1, "{script} called nothing: {line}");
    let version = line["version"].as_str().unwrap_or("no version");
    Ok(format!("{script} ({version})"))
}

fn command_of((interpreter, script, args): Client, setting: &Setting) -> Result<Command> {
    let scripts = setting.root.join("crates/hexagram/tests/clients");
    let interpreter = std::env::var_os(interpreter).map(PathBuf::from);
    let mut command = Command::new(interpreter.context("run `cargo xtask e2e`")?);
    command
        .arg(scripts.join(script))
        .arg(&setting.url)
        .args(args);
    Ok(command)
}

/// The line that a client prints at its end.
async fn report<T: DeserializeOwned>(command: &mut Command) -> Result<T> {
    let output = command::output(command, LIMIT).await?;
    serde_json::from_str(output.trim()).with_context(|| format!("read {output}"))
}
