//! `cargo xtask sim`: many seeds of the simulated cluster, each in a process of its own.

mod faults;
mod report;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::process;
use crate::progress::Task;
use crate::workspace::Workspace;
use report::Total;

/// Seeds that run at a time: each takes one processor.
const AT_A_TIME: usize = 2;
/// Of seeds that broke something, so many are shown.
const SHOWN: usize = 20;
/// The product's crates that take most of a seed's time.
const OPTIMIZED: [&str; 6] = ["control", "edge", "mcp", "proto", "store", "worker"];
/// Where the last report is kept.
const DOCUMENT: &str = "docs/simulation.md";

/// Arguments of `cargo xtask sim`.
#[derive(clap::Args)]
pub(crate) struct Selection {
    /// How many seeds
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    from: u64,
    /// Write the report into docs/simulation.md
    #[arg(long)]
    report: bool,
    /// Build mistakes into a copy of the product, one at a time, and see whether they are found
    #[arg(long, conflicts_with = "report")]
    faults: bool,
}

pub(crate) const HELP: &str = "\
Each seed is a whole cluster with clients, crashes and broken networks, decided over by
I1 to I12 of the design. A seed that breaks one runs again, step by step, with
  cargo run -p hexagram-sim -- --trace --seed SEED

Examples:
  cargo xtask sim                              200 seeds
  cargo xtask sim --seeds 10000 --report       what docs/simulation.md reports
  cargo xtask sim --from 4711 --seeds 1        one of them
  cargo xtask sim --faults --seeds 500         500 seeds at most to find each of ten mistakes";

/// What one seed came to.
#[derive(Debug, Deserialize)]
struct Told {
    seed: u64,
    violations: Vec<String>,
    counts: serde_json::Map<String, serde_json::Value>,
}

/// Runs the seeds; gives whether all kept what is promised.
///
/// # Errors
/// When the simulation cannot be built, or the report not be written.
pub(crate) fn command(workspace: &Workspace, selection: &Selection) -> Result<bool> {
    if selection.faults {
        return faults::command(workspace, selection);
    }
    let mut task = Task::start("build the simulation");
    process::require(build(workspace), &mut task)?;
    task.end("ok");
    let mut task = Task::start(format!("{} seeds", selection.seeds));
    let program = workspace.target.join("debug/hexagram-sim");
    let total = run(&program, selection, &mut task)?;
    task.end(if total.broken.is_empty() {
        "ok"
    } else {
        "FAILED"
    });
    let text = total.text(selection);
    eprint!("{text}");
    if selection.report {
        report::write(&workspace.root.join(DOCUMENT), &text)?;
    }
    Ok(total.broken.is_empty())
}

/// With every assertion, but quicker than the tests: many seeds are worth a longer build.
fn build(workspace: &Workspace) -> Command {
    let mut cargo = workspace.cargo(&["build", "--workspace", "--bin", "hexagram-sim"]);
    for name in OPTIMIZED {
        cargo.arg(format!(
            "--config=profile.dev.package.hexagram-{name}.opt-level=2"
        ));
    }
    cargo.arg("--target-dir").arg(&workspace.target);
    cargo
}

fn run(program: &Path, selection: &Selection, task: &mut Task) -> Result<Total> {
    let mut total = Total::default();
    for told in play(program, selection) {
        let told = told?;
        if !told.violations.is_empty() && total.broken.len() < SHOWN {
            let lines = told.violations.iter().map(String::as_str);
            task.print(std::iter::once(&*format!("seed {}", told.seed)).chain(lines));
        }
        total.add(told);
        let (done, broken) = (total.seeds, total.broken.len());
        task.line(&format!(
            "{done} of {}, {broken} broke something",
            selection.seeds
        ));
    }
    ensure!(total.seeds == selection.seeds, "some seeds did not end");
    Ok(total)
}

/// Plays the seeds, in no order.
fn play(program: &Path, selection: &Selection) -> Receiver<Result<Told>> {
    let end = selection.from.saturating_add(selection.seeds);
    let next = std::sync::Arc::new(AtomicU64::new(selection.from));
    let (sender, played) = sync_channel(AT_A_TIME);
    for _ in 0..AT_A_TIME {
        let (next, sender, program) = (next.clone(), sender.clone(), PathBuf::from(program));
        thread::spawn(move || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end || sender.send(one(&program, seed)).is_err() {
                    return;
                }
            }
        });
    }
    played
}

fn one(program: &Path, seed: u64) -> Result<Told> {
    let output = Command::new(program).arg(format!("--seed={seed}")).output();
    let output = output.with_context(|| format!("start {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let told = text.lines().last().map(serde_json::from_str::<Told>);
    match told {
        Some(Ok(told)) => Ok(told),
        // It panicked: that too is something it broke.
        _ => Ok(Told {
            seed,
            violations: vec![format!(
                "it did not end: {} {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            )],
            counts: serde_json::Map::new(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str) -> (tempfile::TempDir, PathBuf) {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sim");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        let may_run = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, may_run).unwrap();
        (folder, path)
    }

    fn played(text: &str, seeds: u64) -> Total {
        let (_folder, program) = script(text);
        let selection = Selection {
            seeds,
            from: 5,
            report: false,
            faults: false,
        };
        run(&program, &selection, &mut Task::start("test")).unwrap()
    }

    #[test]
    fn every_seed_is_played_once_and_added_up() {
        let text = r#"seed=${1#--seed=}
echo "a trace"
echo "{\"seed\": $seed, \"violations\": [], \"counts\": {\"sent\": $seed, \"pauses\": [$seed]}}""#;
        let total = played(text, 4);
        assert_eq!((total.seeds, &total.broken[..]), (4, &[][..]));
        assert_eq!(total.number("sent"), 5 + 6 + 7 + 8);
        assert_eq!(total.times("pauses"), [5, 6, 7, 8]);
    }

    #[test]
    fn what_breaks_and_what_dies_is_told() {
        let broken = played(
            r#"echo '{"seed": 5, "violations": ["I1 at 2 s: x"], "counts": {}}'; exit 1"#,
            1,
        );
        assert_eq!(broken.broken, [(5, vec!["I1 at 2 s: x".to_owned()])]);
        let dead = played("echo oh >&2; exit 101", 1);
        let (seed, said) = &dead.broken[0];
        assert!(*seed == 5 && said[0].ends_with("oh"), "{said:?}");
    }
}
