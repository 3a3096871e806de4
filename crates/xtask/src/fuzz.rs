//! Runs the fuzz targets of `crates/*/fuzz`, each for a limited time.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::cache::Cache;
use crate::progress::Task;
use crate::workspace::Workspace;
use crate::{process, tools};

/// A fuzz target and the crate it belongs to.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    krate: PathBuf,
    name: String,
}

/// `cargo xtask fuzz [TARGET] [--seconds N]`.
///
/// # Errors
/// Without a nightly toolchain, for an unknown target, or when a target finds
/// something: the output names the input that did it.
pub(crate) fn command(
    workspace: &Workspace,
    cache: &Cache,
    only: Option<&str>,
    seconds: u64,
) -> Result<()> {
    ensure!(
        tools::has_nightly(),
        "fuzzing needs a nightly toolchain: `rustup toolchain install nightly`"
    );
    let all = targets(&workspace.root)?;
    let names: Vec<_> = all.iter().map(|target| target.name.clone()).collect();
    let chosen: Vec<_> = all
        .into_iter()
        .filter(|target| only.is_none_or(|name| name == target.name))
        .collect();
    if chosen.is_empty() {
        bail!("no such fuzz target; there are: {}", names.join(", "));
    }
    let mut task = Task::start("tools");
    tools::install(cache, &mut task)?;
    task.end("ok");
    for target in chosen {
        let mut task = Task::start(format!("fuzz {} for {seconds} s", target.name));
        run(&target, workspace, cache, seconds, &mut task)?;
        task.end("ok");
    }
    Ok(())
}

/// The step of `cargo xtask test`: as [`command`], but the targets share
/// `budget` seconds, and a machine without a nightly toolchain passes and says so.
pub(crate) fn step(
    workspace: &Workspace,
    cache: &Cache,
    budget: u64,
    task: &mut Task,
) -> Result<Option<String>> {
    if !tools::has_nightly() {
        let note = "not run, there is no nightly toolchain: the property tests cover the same code";
        return Ok(Some(note.into()));
    }
    let targets = targets(&workspace.root)?;
    let seconds = share(budget, targets.len());
    for target in &targets {
        run(target, workspace, cache, seconds, task)?;
    }
    Ok(Some(format!(
        "{} targets, {seconds} s each; longer: cargo xtask fuzz [TARGET] --seconds N",
        targets.len()
    )))
}

/// Each target's part of the budget, in whole seconds; libFuzzer takes 0 for endless.
fn share(budget: u64, targets: usize) -> u64 {
    (budget / targets.max(1) as u64).max(1)
}

fn run(
    target: &Target,
    workspace: &Workspace,
    cache: &Cache,
    seconds: u64,
    task: &mut Task,
) -> Result<()> {
    let cargo_fuzz = cache.require(&tools::CARGO_FUZZ)?;
    let built = workspace.target.join("fuzz");
    let mut fuzz = Command::new("rustup");
    fuzz.args(["run", "nightly", "cargo", "fuzz", "run", &target.name])
        .args(corpora(target, &built)?)
        .arg("--target-dir")
        .arg(&built)
        .args(["--", &format!("-max_total_time={seconds}")])
        .current_dir(&target.krate)
        .env("PATH", path_with(&cargo_fuzz)?);
    process::require(fuzz, task)
        .map(|_| ())
        .with_context(|| format!("fuzz target {}", target.name))
}

/// Where inputs come from: the first folder also takes the new ones, so it is
/// outside the tree; the second holds the committed seeds, if there are any.
fn corpora(target: &Target, built: &Path) -> Result<Vec<PathBuf>> {
    let grown = built.join("corpus").join(&target.name);
    fs::create_dir_all(&grown).with_context(|| format!("create {}", grown.display()))?;
    let seeds = target.krate.join("fuzz/corpus").join(&target.name);
    let seeds = seeds.is_dir().then_some(seeds);
    Ok([grown].into_iter().chain(seeds).collect())
}

/// `PATH` with the program's folder first: cargo looks there for `cargo-fuzz`.
fn path_with(program: &Path) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = program.parent().map(PathBuf::from).into_iter();
    Ok(std::env::join_paths(
        folders.chain(std::env::split_paths(&path)),
    )?)
}

/// The `[[bin]]`s of every `crates/*/fuzz/Cargo.toml`, by name.
fn targets(root: &Path) -> Result<Vec<Target>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join("crates"))? {
        let krate = entry?.path();
        let manifest = krate.join("fuzz/Cargo.toml");
        if manifest.exists() {
            let names = binaries(&fs::read_to_string(&manifest)?)
                .with_context(|| format!("read {}", manifest.display()))?;
            found.extend(names.into_iter().map(|name| Target {
                krate: krate.clone(),
                name,
            }));
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn binaries(manifest: &str) -> Result<Vec<String>> {
    let manifest: toml::Table = manifest.parse()?;
    let bins = manifest.get("bin").and_then(toml::Value::as_array);
    let names = bins.into_iter().flatten().map(|bin| bin.get("name"));
    names
        .map(|name| {
            let name = name.and_then(toml::Value::as_str);
            name.map(str::to_owned).context("a [[bin]] without a name")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_targets_of_every_crate() {
        let root = tempfile::tempdir().unwrap();
        for (krate, bin) in [("b", "zebra"), ("a", "ant")] {
            let folder = root.path().join("crates").join(krate).join("fuzz");
            fs::create_dir_all(&folder).unwrap();
            let manifest = format!("[[bin]]\nname = \"{bin}\"\npath = \"x.rs\"\n");
            fs::write(folder.join("Cargo.toml"), manifest).unwrap();
        }
        fs::create_dir_all(root.path().join("crates/plain")).unwrap();
        let names: Vec<_> = targets(root.path()).unwrap();
        let names: Vec<_> = names.iter().map(|target| target.name.as_str()).collect();
        assert_eq!(names, ["ant", "zebra"]);
    }

    #[test]
    fn new_inputs_stay_out_of_the_tree() {
        let root = tempfile::tempdir().unwrap();
        let target = Target {
            krate: root.path().join("krate"),
            name: "ant".into(),
        };
        let grown = root.path().join("built/corpus/ant");
        let built = root.path().join("built");
        assert_eq!(
            corpora(&target, &built).unwrap(),
            std::slice::from_ref(&grown)
        );
        let seeds = target.krate.join("fuzz/corpus/ant");
        fs::create_dir_all(&seeds).unwrap();
        assert_eq!(corpora(&target, &built).unwrap(), [grown, seeds]);
    }

    #[test]
    fn targets_share_the_time_and_none_runs_for_ever() {
        assert_eq!(share(60, 7), 8);
        assert_eq!(share(60, 0), 60);
        assert_eq!(share(60, 61), 1);
    }

    #[test]
    fn a_binary_without_a_name_is_an_error() {
        assert!(binaries("[[bin]]\npath = \"x.rs\"\n").is_err());
    }
}
