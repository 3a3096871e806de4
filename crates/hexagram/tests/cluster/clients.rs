//! Runs the unmodified MCP clients of `tests/clients`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::tools;

/// A run without `--loop` may take this long: three interpreters start at once.
const LIMIT: Duration = Duration::from_secs(90);

/// One of the clients, in one of its modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client {
    script: &'static str,
    mode: Option<&'static str>,
    /// The version it must end up with.
    pub(crate) version: &'static str,
}

/// The official clients, as most tests run them.
pub(crate) const ALL: [Client; 5] = [
    NPM_LEGACY,
    client("modern.mjs", Some("legacy"), super::mcp::LEGACY),
    NPM_MODERN,
    client("client.py", Some("legacy"), super::mcp::LEGACY),
    client("client.py", Some("auto"), super::mcp::MODERN),
];
/// Of each era one.
pub(crate) const ONE_PER_ERA: [Client; 2] = [NPM_LEGACY, NPM_MODERN];
/// Others, for a test of their own.
pub(crate) const OTHERS: [Client; 3] = [
    client("legacy.py", Some("legacy"), super::mcp::LEGACY),
    client("fast.py", Some("legacy"), super::mcp::LEGACY),
    client("fast.py", Some("auto"), super::mcp::MODERN),
];
const NPM_LEGACY: Client = client("legacy.mjs", None, super::mcp::LEGACY);
const NPM_MODERN: Client = client("modern.mjs", Some("auto"), super::mcp::MODERN);

const fn client(script: &'static str, mode: Option<&'static str>, version: &'static str) -> Client {
    Client {
        script,
        mode,
        version,
    }
}

/// What a client said of its run.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) client: Client,
    pub(crate) success: bool,
    pub(crate) line: Value,
    pub(crate) errors: String,
}

impl Report {
    pub(crate) fn number(&self, member: &str) -> u64 {
        self.line[member].as_u64().unwrap_or_default()
    }

    /// Requests that each edge answered.
    pub(crate) fn requests(&self) -> Vec<u64> {
        let counts = self.line["requests"].as_array().into_iter().flatten();
        counts.filter_map(Value::as_u64).collect()
    }

    /// The failed calls of a loop: cause and count.
    pub(crate) fn failures(&self) -> Vec<(String, u64)> {
        let failures = self.line["failures"].as_object().into_iter().flatten();
        failures
            .map(|(cause, count)| (cause.clone(), count.as_u64().unwrap_or_default()))
            .collect()
    }

    /// Checks that the whole tour was made: lists, echo, a long call with
    /// progress, a resource, a prompt.
    pub(crate) fn check_tour(&self) {
        assert!(self.success, "{self:?}");
        assert_eq!(self.line["version"], self.client.version, "{self:?}");
        for member in ["tools", "echo", "progress", "resources", "prompts"] {
            assert!(self.number(member) > 0, "no {member}: {self:?}");
        }
        assert!(self.requests().iter().all(|count| *count > 0), "{self:?}");
    }
}

/// Runs one client against the edges at `urls`, in turn for each request.
pub(crate) async fn run(client: Client, urls: Vec<String>, more: Vec<String>) -> Report {
    let script = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap())
        .join("tests/clients")
        .join(client.script);
    let mut command = Command::new(match client.script {
        "client.py" => tools::python(),
        "legacy.py" => tools::legacy_python(),
        "fast.py" => tools::fastmcp(),
        _ => tools::node(),
    });
    command
        .arg(script)
        .arg(urls.join(","))
        .args(client.mode)
        .args(more)
        .env("HEXAGRAM_NODE_PACKAGES", tools::node_packages())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(LIMIT, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("{client:?} still runs after {LIMIT:?}"));
    let output = output.unwrap_or_else(|error| panic!("cannot run {client:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{client:?} reported nothing: {error}\n{errors}"));
    Report {
        client,
        success: output.status.success(),
        line,
        errors,
    }
}

/// Runs all clients at the same time.
pub(crate) async fn run_all(urls: &[String], more: &[&str]) -> Vec<Report> {
    run_each(&ALL, urls, more).await
}

async fn run_each(clients: &[Client], urls: &[String], more: &[&str]) -> Vec<Report> {
    let more: Vec<_> = more.iter().map(|&argument| argument.to_owned()).collect();
    let runs: JoinSet<_> = clients
        .iter()
        .map(|client| run(*client, urls.to_vec(), more.clone()))
        .collect();
    runs.join_all().await
}

/// Every client makes the whole tour.
pub(crate) async fn tour(urls: &[String]) {
    tour_of(&ALL, urls).await;
}

/// These clients make the whole tour at the same time.
pub(crate) async fn tour_of(clients: &[Client], urls: &[String]) {
    for report in run_each(clients, urls, &[]).await {
        report.check_tour();
    }
}
