//! `cargo xtask test`: the steps, their order, and the count at the end.

use std::io::{Write, stdout};
use std::process::{Command, ExitCode};

use anyhow::{Result, ensure};

use crate::cache::Cache;
use crate::progress::Task;
use crate::tally::Tally;
use crate::workspace::Workspace;
use crate::{chart, conformance, e2e, fuzz, process, tools};

/// How long all fuzz targets together run as a part of the tests, in seconds.
const FUZZ_SECONDS: u64 = 60;

struct Step {
    name: &'static str,
    about: &'static str,
    run: fn(&mut Suite<'_>, &mut Task) -> Result<Note>,
}

/// What a step has to say besides that it passed.
type Note = Option<String>;

/// In order: the cheap and telling ones first.
const STEPS: &[Step] = &[
    Step {
        name: "tools",
        about: "install the servers, clients and cargo tools that the tests run",
        run: |suite, task| tools::install(suite.cache, task).map(|()| None),
    },
    Step {
        name: "fmt",
        about: "formatting is rustfmt's",
        run: |suite, task| suite.check(task, suite.cargo("fmt --all --check")),
    },
    Step {
        name: "clippy",
        about: "no warning in any target",
        run: clippy,
    },
    Step {
        name: "deny",
        about: "licences, banned crates and sources (deny.toml)",
        run: deny,
    },
    Step {
        name: "chart",
        about: "the Helm chart renders, mistakes in its values are refused, where helm is there",
        run: |suite, task| chart::step(suite.workspace, task).map(Some),
    },
    Step {
        name: "doc",
        about: "the documentation builds without a warning",
        run: |suite, task| {
            let mut doc = suite.cargo("doc --workspace --no-deps");
            doc.env("RUSTDOCFLAGS", "-D warnings");
            suite.check(task, doc)
        },
    },
    Step {
        name: "unit",
        about: "unit, property and documentation tests, and the tests of each library",
        run: unit,
    },
    Step {
        name: "release",
        about: "build the release binary",
        run: |suite, task| suite.check(task, suite.cargo("build --release -p hexagram")),
    },
    Step {
        name: "clients",
        about: "the release binary with real MCP clients and servers",
        run: clients,
    },
    Step {
        name: "conformance",
        about: "the official MCP conformance suite, both eras, in two shapes of cluster",
        run: conformance,
    },
    Step {
        name: "e2e",
        about: "a real Kubernetes cluster: install, call, scale, restart, kill, where kind is there",
        run: e2e,
    },
    Step {
        name: "fuzz",
        about: "60 s shared by the fuzz targets, where a nightly toolchain is there",
        run: |suite, task| fuzz::step(suite.workspace, suite.cache, FUZZ_SECONDS, task),
    },
];

/// What a step works with and counts into.
struct Suite<'a> {
    workspace: &'a Workspace,
    cache: &'a Cache,
    tally: Tally,
}

impl Suite<'_> {
    fn cargo(&self, line: &str) -> Command {
        let args: Vec<_> = line.split(' ').collect();
        self.workspace.cargo(&args)
    }

    fn check(&self, task: &mut Task, command: Command) -> Result<Note> {
        process::require(command, task).map(|_| None)
    }

    /// Runs test runners and counts their tests, those of a failing one too.
    ///
    /// # Errors
    /// When one fails, or when all of them together ran no test.
    fn test(&mut self, task: &mut Task, runners: Vec<Command>) -> Result<Note> {
        let mut tally = Tally::default();
        for runner in runners {
            let finished = process::run(runner, task)?;
            let ran = Tally::of(finished.lines.iter().map(String::as_str));
            tally += ran;
            self.tally += ran;
            finished.require_success(task)?;
        }
        ensure!(tally.total() > 0, "not one test ran: were they renamed?");
        Ok(Some(format!("{} passed", tally.passed)))
    }
}

/// Two calls: "all targets" leaves out tests that `cargo test` leaves out.
fn clippy(suite: &mut Suite<'_>, task: &mut Task) -> Result<Note> {
    for targets in [
        "--workspace --all-targets",
        "--package hexagram-e2e --test *",
    ] {
        let lint = suite.cargo(&format!("clippy {targets} -- -D warnings"));
        suite.check(task, lint)?;
    }
    Ok(None)
}

fn deny(suite: &mut Suite<'_>, task: &mut Task) -> Result<Note> {
    let mut deny = Command::new(suite.cache.require(&tools::CARGO_DENY)?);
    deny.args(["check", "licenses", "bans", "sources"])
        .current_dir(&suite.workspace.root);
    suite.check(task, deny)
}

/// Three calls, because cargo does not mix documentation tests with others, and
/// because the cluster tests in `crates/hexagram/tests` have a step of their own.
/// Examples first: tests start them as processes, and none of the calls builds them.
fn unit(suite: &mut Suite<'_>, task: &mut Task) -> Result<Note> {
    let examples = suite.cargo("build --workspace --examples");
    process::require(examples, task)?;
    let runners = [
        "test --workspace --no-fail-fast --lib --bins",
        "test --workspace --no-fail-fast --exclude hexagram --exclude hexagram-e2e --test *",
        "test --workspace --no-fail-fast --doc",
    ];
    let runners = runners.map(|line| suite.cargo(line)).into();
    suite.test(task, runners)
}

fn clients(suite: &mut Suite<'_>, task: &mut Task) -> Result<Note> {
    let binary = suite.workspace.release_binary();
    ensure!(
        binary.exists(),
        "{} is missing: run `cargo xtask test --only release` first",
        binary.display()
    );
    let mut runner = suite.cargo("test -p hexagram --no-fail-fast --test *");
    runner
        .env("HEXAGRAM_BIN", binary)
        .envs(tools::env(suite.cache)?);
    suite.test(task, vec![runner])
}

fn conformance(suite: &mut Suite<'_>, task: &mut Task) -> Result<Note> {
    let selection = conformance::Selection::default();
    let ran = conformance::run(suite.workspace, suite.cache, &selection, task)?;
    suite.tally += ran;
    ensure!(ran.failed == 0, "{} checks failed", ran.failed);
    Ok(Some(format!("{} checks passed", ran.passed)))
}

/// On a machine without the programs that make a cluster, passes and says so.
fn e2e(suite: &mut Suite<'_>, task: &mut Task) -> Result<Note> {
    if let Some(note) = e2e::cannot_run() {
        return Ok(Some(note));
    }
    let ran = e2e::step(suite.workspace, suite.cache, task)?;
    suite.tally += ran;
    ensure!(ran.failed == 0, "{} scenarios failed", ran.failed);
    Ok(Some(format!("{} scenarios passed", ran.passed)))
}

/// The names of the steps, in order.
pub(crate) fn names() -> Vec<&'static str> {
    STEPS.iter().map(|step| step.name).collect()
}

/// Prints the steps.
pub(crate) fn list() -> Result<()> {
    for Step { name, about, .. } in STEPS {
        writeln!(stdout(), "{name:8} {about}")?;
    }
    Ok(())
}

/// Runs the steps named in `only`, or all of them, and prints the count.
///
/// # Errors
/// When the count cannot be printed: a failing step is an exit code.
pub(crate) fn run(workspace: &Workspace, cache: &Cache, only: &[String]) -> Result<ExitCode> {
    let wanted = |step: &&Step| only.is_empty() || only.iter().any(|name| name == step.name);
    let steps: Vec<_> = STEPS.iter().filter(wanted).collect();
    let mut suite = Suite {
        workspace,
        cache,
        tally: Tally::default(),
    };
    let passed = run_steps(&steps, &mut suite);
    summary(&steps, passed);
    let Tally { passed, failed } = suite.tally;
    writeln!(stdout(), "{passed} passed, {failed} failed")?;
    Ok(ExitCode::from(u8::from(failed > 0)))
}

/// How many steps passed before one failed or all were done.
fn run_steps(steps: &[&Step], suite: &mut Suite<'_>) -> usize {
    let passes = |(index, step): (usize, &&Step)| {
        let label = format!("[{}/{}] {}", index + 1, steps.len(), step.name);
        run_step(step, label, suite)
    };
    steps
        .iter()
        .enumerate()
        .map(passes)
        .take_while(|ok| *ok)
        .count()
}

fn run_step(step: &Step, label: String, suite: &mut Suite<'_>) -> bool {
    let failed_before = suite.tally.failed;
    let mut task = Task::start(label);
    match (step.run)(suite, &mut task) {
        Ok(note) => {
            task.end(&format!(
                "ok{}",
                note.map(|n| format!(": {n}")).unwrap_or_default()
            ));
            true
        }
        Err(error) => {
            task.end(&format!("FAILED: {error:#}"));
            // A failure without a failed test, say of clippy, must count as well.
            suite.tally.failed += u64::from(suite.tally.failed == failed_before);
            false
        }
    }
}

fn summary(steps: &[&Step], passed: usize) {
    eprintln!("{passed} of {} steps passed", steps.len());
    if let [failed, rest @ ..] = &steps[passed..] {
        let rest: Vec<_> = rest.iter().map(|step| step.name).collect();
        eprintln!("failed: {}", failed.name);
        eprintln!(
            "not run: {}",
            if rest.is_empty() {
                "none".into()
            } else {
                rest.join(", ")
            }
        );
    }
}

#[cfg(test)]
mod tests;
