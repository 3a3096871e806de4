//! The official clients of both eras, unmodified: the scripts of `crates/hexagram/tests`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
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

async fn run((interpreter, script, args): Client, setting: Setting) -> Result<String> {
    let scripts = setting.root.join("crates/hexagram/tests/clients");
    let interpreter = std::env::var_os(interpreter).map(PathBuf::from);
    let mut command = Command::new(interpreter.context("run `cargo xtask e2e`")?);
    command
        .arg(scripts.join(script))
        .arg(&setting.url)
        .args(args)
        .arg("--tools-only");
    let output = command::output(&mut command, LIMIT).await?;
    let line: Value =
        serde_json::from_str(output.trim()).with_context(|| format!("read {script}"))?;
    ensure!(line["echo"] == 1, "{script} called nothing: {line}");
    let version = line["version"].as_str().unwrap_or("no version");
    Ok(format!("{script} ({version})"))
}
