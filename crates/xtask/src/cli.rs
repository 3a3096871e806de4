//! The command line of `cargo xtask`.

use std::io::{Write, stdout};
use std::process::ExitCode;

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand};

use crate::cache::Cache;
use crate::progress::Task;
use crate::tally::Tally;
use crate::workspace::Workspace;
use crate::{chart, cluster, conformance, e2e, fuzz, sim, suite, tidy, tools};

/// Developer commands of Hexagram.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = CACHE_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const CACHE_HELP: &str = "\
What is installed goes to ${HEXAGRAM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hexagram}, \
never into the tree. Delete that folder to start afresh.";

#[derive(Subcommand)]
enum Command {
    /// Run everything that must pass before a change is accepted
    #[command(after_help = TEST_HELP)]
    Test(TestArgs),
    /// Install the MCP servers, clients and cargo tools that the tests run
    #[command(after_help = TOOLS_HELP)]
    Tools,
    /// Run the MCP conformance suite against clusters of the release binary
    #[command(after_help = conformance::HELP)]
    Conformance(conformance::Selection),
    /// Check the Helm chart, as far as that goes without a cluster
    #[command(after_help = chart::HELP)]
    Chart,
    /// Write what is generated and kept in the tree: manifests/hexagram.yaml
    #[command(after_help = chart::GEN_HELP)]
    Gen,
    /// Make, show or delete the Kubernetes cluster that the tests use (kind)
    #[command(subcommand, after_help = cluster::HELP)]
    Cluster(cluster::Order),
    /// Install Hexagram in a Kubernetes cluster, load it and break things
    #[command(after_help = e2e::HELP)]
    E2e(e2e::Selection),
    /// Fuzz what parses bytes from outside (needs a nightly toolchain)
    #[command(after_help = FUZZ_HELP)]
    Fuzz(FuzzArgs),
    /// Run many seeds of the simulated cluster
    #[command(after_help = sim::HELP)]
    Sim(sim::Selection),
    /// Check dependency arrows, manifests and file sizes
    Tidy,
}

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
struct TestArgs {
    /// Run this step only; may be repeated. Steps keep their order
    #[arg(long, value_name = "STEP", value_parser = PossibleValuesParser::new(suite::names()))]
    only: Vec<String>,
    /// List the steps and what each does
    #[arg(long)]
    list: bool,
}

const TEST_HELP: &str = "\
The steps run in order and stop at the first that fails, with its whole output. \
The last line is `N passed, N failed`: the tests of every test runner, where a \
step that failed without a failed test counts as one failure.

Examples:
  cargo xtask test                               everything
  cargo xtask test --list                        what everything is
  cargo xtask test --only fmt --only clippy      before a commit
  cargo xtask test --only release --only clients real clients, real servers";

const TOOLS_HELP: &str = "\
Prints NAME=VALUE lines, so that a single test can be run with its tools.

Examples:
  cargo xtask tools
  env $(cargo xtask tools) cargo test -p hexagram --test '*'";

const FUZZ_HELP: &str = "\
Examples:
  cargo xtask fuzz                          every target, 60 s each
  cargo xtask fuzz envelope --seconds 600   one target, ten minutes";

/// Arguments of `cargo xtask fuzz`.
#[derive(clap::Args)]
struct FuzzArgs {
    /// One target; all of them when absent
    target: Option<String>,
    /// How long each target runs, in seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
}

/// Runs the command line; 0 when everything asked for passed, 1 otherwise.
#[must_use]
pub fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    match command {
        Command::Test(args) if args.list => suite::list()?,
        Command::Test(args) => return suite::run(&workspace, &Cache::locate()?, &args.only),
        Command::Tools => tools::install_and_print(&Cache::locate()?)?,
        Command::Conformance(selection) => return conformance(&workspace, &selection),
        Command::Chart => chart::command(&workspace)?,
        Command::Gen => chart::generate(&workspace)?,
        Command::Cluster(order) => cluster::command(&workspace, &Cache::locate()?, &order)?,
        Command::E2e(selection) => return e2e(&workspace, &selection),
        Command::Fuzz(args) => fuzz::command(
            &workspace,
            &Cache::locate()?,
            args.target.as_deref(),
            args.seconds,
        )?,
        Command::Sim(selection) => {
            let sound = sim::command(&workspace, &selection)?;
            return Ok(ExitCode::from(u8::from(!sound)));
        }
        Command::Tidy => tidy::report(&workspace.root)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The last line is `N passed, N failed`, as that of the tests.
fn conformance(workspace: &Workspace, selection: &conformance::Selection) -> Result<ExitCode> {
    let mut task = Task::start("conformance");
    let ran = conformance::run(workspace, &Cache::locate()?, selection, &mut task);
    let verdict = |tally: &Tally| if tally.failed == 0 { "ok" } else { "FAILED" };
    task.end(ran.as_ref().map_or("FAILED", verdict));
    let Tally { passed, failed } = ran?;
    writeln!(stdout(), "{passed} passed, {failed} failed")?;
    Ok(ExitCode::from(u8::from(failed > 0)))
}

/// As [`conformance()`]; the report comes before.
fn e2e(workspace: &Workspace, selection: &e2e::Selection) -> Result<ExitCode> {
    let Tally { passed, failed } = e2e::command(workspace, &Cache::locate()?, selection)?;
    writeln!(stdout(), "{passed} passed, {failed} failed")?;
    Ok(ExitCode::from(u8::from(failed > 0)))
}
