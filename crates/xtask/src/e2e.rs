//! `cargo xtask e2e`: Hexagram in a Kubernetes cluster, installed, loaded and broken by
//! the tests of `e2e/`.

mod kinds;
mod setting;

use std::fs;
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cache::Cache;
use crate::cluster::{self, Up, programs};
use crate::progress::Task;
use crate::tally::Tally;
use crate::workspace::Workspace;
use crate::{process, tools};

use setting::Setting;

/// What to run, and against which cluster.
#[derive(clap::Args, Default)]
pub(crate) struct Selection {
    /// Everything, each with 300 clients of each era
    #[arg(long, conflicts_with = "load")]
    all: bool,
    /// Load the cluster and break nothing: 300 clients of each era for 60 s
    #[arg(long)]
    load: bool,
    /// The control plane is away for ten minutes, not for one
    #[arg(long, requires = "all")]
    long: bool,
    /// Only the tests whose name contains this
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Clients of each era
    #[arg(long, value_name = "N")]
    clients: Option<u32>,
    /// Calls a second of each client
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// How long --load loads
    #[arg(long, value_name = "SECONDS", requires = "load")]
    seconds: Option<u32>,
    /// Use the cluster of this file instead of kind's
    #[arg(long, value_name = "FILE", requires_all = ["image", "url"])]
    kubeconfig: Option<PathBuf>,
    /// The image that cluster can pull
    #[arg(long, requires = "kubeconfig")]
    image: Option<String>,
    /// Where that cluster's node port 30080 is reached
    #[arg(long, requires = "kubeconfig")]
    url: Option<String>,
    /// The binary of the image and of the load; the release build by default
    #[arg(long, value_name = "FILE", env = "HEXAGRAM_BIN")]
    binary: Option<PathBuf>,
    /// Leave the cluster and what is installed there
    #[arg(long)]
    keep: bool,
}

/// The help of `cargo xtask e2e`, after its options.
pub(crate) const HELP: &str = "\
Makes a cluster with kind as `cargo xtask cluster up` does, and deletes it at the end \
unless it was there. Everything is installed into the namespace hexagram-e2e, which is deleted at \
the end, with the kinds where its release made them. The report goes to `e2e/report.md` in cargo's \
target folder; beside it, what was seen of each failure.

--all needs more images: one of another tag, a Redis and a metrics-server. With --kubeconfig \
the variables HEXAGRAM_E2E_NEXT_IMAGE, HEXAGRAM_E2E_STORE_IMAGE and HEXAGRAM_E2E_METRICS_IMAGE \
name them; what is not there is not run, and the report says so.

Status and metrics of pods are read by way of the API server. The release of the tests lets \
everybody in to port 9090 (networkPolicy.monitoring), which the chart by default does for pods \
alone; where a cluster has policies of its own, they have to let the API server in too. Whether \
the chart's policies keep strangers out is seen where a network plugin enforces policies; the \
report says so where none does, as it may be with kind.

Examples:
  cargo xtask e2e                          the short form, a part of `cargo xtask test`
  cargo xtask e2e --only restart --keep    some of it, again and again
  cargo xtask e2e --all                    the short form, then the long one: hours
  cargo xtask e2e --all --only node --keep
  cargo xtask e2e --load --clients 1000 --seconds 300
  cargo xtask e2e --kubeconfig FILE --image registry.example.com/hexagram:0.1 \\
      --url http://node.example.com:30080/mcp";

/// `cargo xtask e2e`: runs the tests and prints their report.
///
/// # Errors
/// When a program is missing or the cluster does not come up; a failing test is counted.
pub(crate) fn command(
    workspace: &Workspace,
    cache: &Cache,
    selection: &Selection,
) -> Result<Tally> {
    match selection.kubeconfig {
        // That cluster is there: only what reaches it is needed.
        Some(_) => programs::require_these(&["kubectl", "helm"])?,
        None => programs::require()?,
    }
    let mut task = Task::start("tools");
    let installed = tools::install(cache, &mut task);
    task.end(if installed.is_ok() { "ok" } else { "FAILED" });
    installed?;
    run(workspace, cache, selection)
}

/// The step of `cargo xtask test`.
///
/// # Errors
/// As [`command`].
pub(crate) fn step(workspace: &Workspace, cache: &Cache, task: &Task) -> Result<Tally> {
    task.print(["making a cluster with kind"]);
    let selection = Selection {
        // As the steps before: what they tested.
        binary: Some(workspace.release_binary()),
        ..Selection::default()
    };
    run(workspace, cache, &selection)
}

/// Why the step does not run here, if it does not.
pub(crate) fn cannot_run() -> Option<String> {
    let missing = programs::missing();
    let names = missing.join(", ");
    let note = format!("NOT RUN, not on the path: {names}; `cargo xtask e2e` says how to get them");
    (!missing.is_empty()).then_some(note)
}

fn run(workspace: &Workspace, cache: &Cache, selection: &Selection) -> Result<Tally> {
    let setting = Setting::new(workspace, cache, selection)?;
    let made = selection.kubeconfig.is_none() && bring_up(workspace, cache, selection)?;
    let ran = setting.run(workspace, cache);
    if !selection.keep {
        let removed = setting.remove();
        if made {
            cluster::down(workspace, cache)?;
        }
        removed?;
    }
    let ran = ran?;
    ensure!(ran.total() > 0, "no test of e2e/ has such a name");
    Ok(ran)
}

fn bring_up(workspace: &Workspace, cache: &Cache, selection: &Selection) -> Result<bool> {
    let args = Up {
        binary: selection.binary.clone(),
        build: false,
    };
    let made = cluster::up(workspace, cache, &args)?;
    if selection.all {
        cluster::load_more(workspace, cache)?;
    }
    Ok(made)
}
