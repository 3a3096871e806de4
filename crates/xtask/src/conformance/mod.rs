//! `cargo xtask conformance`: the MCP conformance suite against a cluster of
//! the release binary.

mod balancer;
mod cluster;
mod mover;
mod process;
mod report;
mod suite;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use tokio::runtime::Runtime;

use crate::cache::Cache;
use crate::progress::Task;
use crate::tally::Tally;
use crate::tools;
use crate::workspace::Workspace;
use cluster::{Cluster, Shape};
use report::Report;
use suite::{Revision, Run};

/// What to run against what; everything by default.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Selection {
    /// Only this shape of cluster
    #[arg(long)]
    shape: Option<Shape>,
    /// Only this revision of MCP
    #[arg(long)]
    revision: Option<Revision>,
    /// Only this scenario of the suite
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// The binary to start; the release build by default
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Run against this endpoint, and start nothing
    #[arg(long, conflicts_with_all = ["shape", "binary"])]
    url: Option<String>,
}

/// The help of `cargo xtask conformance`, after its options.
pub(crate) const HELP: &str = "\
Results and logs go to `conformance` in cargo's target folder.

Examples:
  cargo xtask conformance                                   everything
  cargo xtask conformance --shape workers --revision 2026-07-28
  cargo xtask conformance --scenario tasks-lifecycle --revision 2026-07-28
  cargo xtask conformance --url http://127.0.0.1:8080/mcp   what runs already";

/// Runs the suite as selected; prints a line a run, and the checks that failed.
///
/// # Errors
/// When a cluster does not start or a process of it ends, and when the suite
/// itself breaks or runs nothing; a failing check is counted.
pub(crate) fn run(
    workspace: &Workspace,
    cache: &Cache,
    selection: &Selection,
    task: &mut Task,
) -> Result<Tally> {
    tools::install_suite(cache, task)?;
    let runner = Runner {
        cache,
        selection,
        folder: workspace.target.join("conformance"),
    };
    let tally = match &selection.url {
        Some(url) => runner.revisions("url", url, task)?,
        None => runner.shapes(&workspace.release_binary(), task)?,
    };
    ensure!(
        tally.total() > 0,
        "not one check ran: does the suite have this scenario in this revision?"
    );
    Ok(tally)
}

/// All there are, unless one is asked for.
fn chosen<T: ValueEnum + Copy>(only: Option<T>) -> Vec<T> {
    only.map_or_else(|| T::value_variants().to_vec(), |one| vec![one])
}

struct Runner<'a> {
    cache: &'a Cache,
    selection: &'a Selection,
    folder: PathBuf,
}

impl Runner<'_> {
    fn shapes(&self, default: &Path, task: &mut Task) -> Result<Tally> {
        let binary = self.selection.binary.as_deref().unwrap_or(default);
        ensure!(
            binary.exists(),
            "{} is missing: run `cargo build --release -p hexagram`, or give another with --binary",
            binary.display()
        );
        let mut tally = Tally::default();
        for shape in chosen(self.selection.shape) {
            tally += self.shape(shape, binary, task)?;
        }
        Ok(tally)
    }

    fn shape(&self, shape: Shape, binary: &Path, task: &mut Task) -> Result<Tally> {
        let name = shape.to_possible_value().context("a shape has a name")?;
        let name = name.get_name();
        let runtime = Runtime::new().context("start a runtime")?;
        task.line(&format!("starting {name}"));
        let logs = self.folder.join(name);
        let cluster = runtime.block_on(Cluster::start(binary, shape, &logs))?;
        let tally = self.revisions(name, &cluster.url(), task)?;
        if let Some(moves) = runtime.block_on(cluster.end())? {
            task.print([format!("{name}: {moves} shards moved meanwhile").as_str()]);
        }
        Ok(tally)
    }

    fn revisions(&self, name: &str, url: &str, task: &mut Task) -> Result<Tally> {
        let mut tally = Tally::default();
        for revision in chosen(self.selection.revision) {
            let run = Run {
                url,
                revision,
                scenario: self.selection.scenario.as_deref(),
                results: &self.folder.join(format!("{name}-{revision}")),
            };
            let report = run.run(self.cache, task)?;
            let lines = describe(&format!("{name} {revision}"), &report);
            task.print(lines.iter().map(String::as_str));
            tally += report.tally();
        }
        Ok(tally)
    }
}

/// The counts of a run, and each check that did not pass.
fn describe(run: &str, report: &Report) -> Vec<String> {
    let Tally { passed, failed } = report.tally();
    let counts = format!("{run}: {passed} passed, {failed} failed");
    let failed = report.failed.iter().map(|line| format!("  FAILED {line}"));
    let warnings = report.warnings.iter();
    let warnings = warnings.map(|line| format!("  warning {line}"));
    std::iter::once(counts)
        .chain(failed)
        .chain(warnings)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_names_what_did_not_pass() {
        let report = Report {
            passed: 7,
            failed: vec!["ping late: no answer".into()],
            warnings: vec!["ping odd: no retry".into()],
        };
        let expected = [
            "workers 2025-11-25: 7 passed, 1 failed",
            "  FAILED ping late: no answer",
            "  warning ping odd: no retry",
        ];
        assert_eq!(describe("workers 2025-11-25", &report), expected);
    }

    #[test]
    fn runs_everything_unless_one_is_asked_for() {
        assert_eq!(chosen::<Shape>(None).len(), 3);
        assert_eq!(chosen(Some(Revision::Modern)), [Revision::Modern]);
    }
}
