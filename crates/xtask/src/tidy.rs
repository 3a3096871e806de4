//! What the tree must look like beyond what the compiler checks: who may depend
//! on whom, what a manifest may say, how long a file may be.

pub mod arrows;
pub mod image;
pub mod manifest;
pub mod size;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand};

/// Everything that is wrong with the workspace at `root`, one line each.
///
/// # Errors
/// When cargo or the file system cannot be read.
pub fn problems(root: &Path) -> Result<Vec<String>> {
    let metadata = MetadataCommand::new()
        .current_dir(root)
        .exec()
        .context("ask cargo for the dependency graph")?;
    let mut graph = arrows::Graph::of(&metadata);
    for member in arrows::pure() {
        graph.narrow(member, linked(root, member)?);
    }
    let mut problems = arrows::problems(&graph);
    problems.extend(manifest_problems(&metadata)?);
    problems.extend(image_problems(&metadata)?);
    problems.extend(size::problems(root)?);
    Ok(problems)
}

/// What is linked into `member` when nothing else is built beside it: other
/// members' features are not its own.
fn linked(root: &Path, member: &str) -> Result<BTreeSet<String>> {
    let tree = Command::new("cargo")
        .current_dir(root)
        .args(["tree", "--edges", "normal", "--prefix", "none"])
        .args(["--format", "{lib}", "--package", member])
        .output()
        .context("ask cargo for a crate's own dependencies")?;
    if !tree.status.success() {
        bail!("cargo tree: {}", String::from_utf8_lossy(&tree.stderr));
    }
    let names = String::from_utf8_lossy(&tree.stdout);
    Ok(names
        .lines()
        .map(|name| name.trim().replace('_', "-"))
        .collect())
}

/// `cargo xtask tidy`.
pub(crate) fn report(root: &Path) -> Result<()> {
    let problems = problems(root)?;
    for problem in &problems {
        eprintln!("{problem}");
    }
    match problems.len() {
        0 => Ok(()),
        count => bail!("{count} problems"),
    }
}

fn image_problems(metadata: &Metadata) -> Result<Vec<String>> {
    let root = &metadata.workspace_root;
    let file = root.join(".dockerignore");
    let ignore = std::fs::read_to_string(&file).with_context(|| format!("read {file}"))?;
    let packages = metadata.workspace_packages();
    let folders = packages
        .iter()
        .filter_map(|package| package.manifest_path.parent()?.strip_prefix(root).ok());
    Ok(image::problems(
        &ignore,
        folders.map(|folder| folder.as_std_path()),
    ))
}

fn manifest_problems(metadata: &Metadata) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for package in metadata.workspace_packages() {
        let text = std::fs::read_to_string(&package.manifest_path)?;
        let found =
            manifest::problems(&text).with_context(|| format!("read {}", package.manifest_path))?;
        problems.extend(
            found
                .iter()
                .map(|problem| format!("{}: {problem}", package.name)),
        );
    }
    Ok(problems)
}
