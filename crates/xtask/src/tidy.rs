//! What the tree must look like beyond what the compiler checks: who may depend
//! on whom, what a manifest may say, how long a file may be.

pub mod arrows;
pub mod manifest;
pub mod size;

use std::path::Path;

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
    let graph = arrows::Graph::of(&metadata);
    let mut problems = arrows::problems(&graph);
    problems.extend(manifest_problems(&metadata)?);
    problems.extend(size::problems(root)?);
    Ok(problems)
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
