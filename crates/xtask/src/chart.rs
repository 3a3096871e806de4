//! `cargo xtask chart`: what can be known of the Helm chart without a cluster. Whether an
//! API server takes its objects is seen by `cargo xtask e2e`.

mod helm;
mod mistakes;
mod plain;
mod threads;
mod watched;

use std::fs;
use std::io::{Write, stdout};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::cluster::programs;
use crate::progress::Task;
use crate::workspace::Workspace;

use helm::Helm;

/// Renders a chart and asks nobody.
const PROGRAM: &str = "helm";
/// What a release with its namespace, and the chart within it, may be called.
const DIGITS: [&str; 2] = ["2024", "2025"];

/// The help of `cargo xtask chart`, after its options.
pub(crate) const HELP: &str = "\
For each file in charts/hexagram/ci: `helm lint --strict`, and two renders that must be \
alike. Values with a mistake must be refused, manifests/hexagram.yaml must be what the chart \
renders, and alerts and dashboard must name metrics that the code has. Needs helm.";

/// The help of `cargo xtask gen`.
pub(crate) const GEN_HELP: &str = "\
Needs helm. The kinds come from the binary, before this: \
`hexagram crd > charts/hexagram/files/crds.yaml`.";

/// `cargo xtask chart`.
///
/// # Errors
/// Without helm, and with the first thing that is wrong.
pub(crate) fn command(workspace: &Workspace) -> Result<()> {
    programs::require_these(&[PROGRAM])?;
    let mut task = Task::start("chart");
    let done = step(workspace, &mut task);
    task.end(if done.is_ok() { "ok" } else { "FAILED" });
    Ok(writeln!(stdout(), "{}", done?)?)
}

/// The step of `cargo xtask test`, and what it has to say. A machine without helm passes
/// with what needs none, and says so.
///
/// # Errors
/// As [`command`].
pub(crate) fn step(workspace: &Workspace, task: &mut Task) -> Result<String> {
    let watched = watched::check(&workspace.root)?;
    if programs::missing().contains(&PROGRAM) {
        return Ok(format!(
            "{watched}; the rest is NOT RUN, not on the path: {PROGRAM}; `cargo xtask chart` says \
             how to get it"
        ));
    }
    let helm = Helm::of(workspace);
    let sets = check_values(&helm, task)?;
    check_digits(&helm, task)?;
    threads::check(&helm, task)?;
    let mistakes = mistakes::check(&helm, task)?;
    plain::check(&helm, &workspace.root)?;
    Ok(format!(
        "{sets} sets of values render, {mistakes} mistakes are refused, {watched}"
    ))
}

/// `cargo xtask gen`.
///
/// # Errors
/// Without helm, or when the chart does not render.
pub(crate) fn generate(workspace: &Workspace) -> Result<()> {
    programs::require_these(&[PROGRAM])?;
    let file = plain::write(&Helm::of(workspace), &workspace.root)?;
    Ok(writeln!(stdout(), "{} is written", file.display())?)
}

/// How many sets of values there are, all of which render.
fn check_values(helm: &Helm, task: &mut Task) -> Result<usize> {
    let sets = value_sets(helm)?;
    for set in &sets {
        let name = set.display().to_string();
        task.line(&name);
        helm.lint(set, task)?;
        let values = ["--values", &name];
        ensure!(
            helm.template(&values)? == helm.template(&values)?,
            "{name} renders another text each time: nothing in the chart may be random"
        );
    }
    ensure!(!sets.is_empty(), "the chart has no sets of values in ci/");
    Ok(sets.len())
}

/// A name of digits is a text in labels and namespaces too, and no object's name begins with it.
fn check_digits(helm: &Helm, task: &mut Task) -> Result<()> {
    let [release, name] = DIGITS;
    task.line(release);
    let everything = helm.chart().join("ci/everything-values.yaml");
    let values = everything.display().to_string();
    let refusal = helm.template_as(release, &[]).err();
    let refusal = refusal
        .map(|error| format!("{error:#}"))
        .unwrap_or_default();
    ensure!(
        refusal.contains("fullnameOverride"),
        "a release named {release} is not refused for its objects' names: {refusal}"
    );
    let set = format!("nameOverride={name},fullnameOverride=hexagram");
    let rendered = helm.template_as(release, &["--values", &values, "--set-string", &set])?;
    let numbers = DIGITS.map(|digits| format!(": {digits}"));
    let is_number = |line: &&str| numbers.iter().any(|number| line.ends_with(number));
    let bare = rendered.lines().find(is_number);
    ensure!(
        bare.is_none(),
        "a release named {release} renders a number: {bare:?}"
    );
    Ok(())
}

fn value_sets(helm: &Helm) -> Result<Vec<PathBuf>> {
    let folder = helm.chart().join("ci");
    let entries = fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path()));
    let mut paths = paths.collect::<Result<Vec<_>>>()?;
    paths.retain(|path| path.to_string_lossy().ends_with("-values.yaml"));
    paths.sort();
    Ok(paths)
}
