//! The Python MCP clients and servers, each version in a virtual environment.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::cache::{Cache, Kit};
use crate::process;
use crate::progress::Task;

use super::debian;

/// PyPI `mcp` of both eras.
pub(super) const BOTH_ERAS: Kit = kit(
    "python",
    include_str!("../../tools/python/requirements.txt"),
);
/// PyPI `mcp` of the legacy era: no environment holds two versions.
pub(super) const LEGACY: Kit = kit(
    "python1",
    include_str!("../../tools/python1/requirements.txt"),
);
/// PyPI `fastmcp`.
pub(super) const FASTMCP: Kit = kit(
    "fastmcp",
    include_str!("../../tools/fastmcp/requirements.txt"),
);

const fn kit(name: &'static str, manifest: &'static str) -> Kit {
    Kit {
        name,
        manifest,
        file: "bin/python",
    }
}

/// Makes the environments and installs the pinned packages.
pub(super) fn install(cache: &Cache, task: &mut Task) -> Result<()> {
    for kit in [&BOTH_ERAS, &LEGACY, &FASTMCP] {
        install_kit(kit, cache, task)?;
    }
    Ok(())
}

fn install_kit(kit: &Kit, cache: &Cache, task: &mut Task) -> Result<()> {
    cache.ensure(kit, |folder| {
        debian::require_program("python3", &["python3", "python3-venv"], task)?;
        if !can_make_environments() {
            debian::install("Python's venv module", &["python3-venv"], task)?;
        }
        task.print([format!("installing {} from PyPI", kit.name).as_str()]);
        make_environment(kit, folder, task)
    })
}

/// Debian ships Python without what `python3 -m venv` needs.
fn can_make_environments() -> bool {
    let import = Command::new("python3")
        .args(["-c", "import ensurepip, venv"])
        .output();
    import.is_ok_and(|output| output.status.success())
}

fn make_environment(kit: &Kit, folder: &Path, task: &mut Task) -> Result<()> {
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(folder);
    process::require(venv, task)?;

    let requirements = folder.join("requirements.txt");
    fs::write(&requirements, kit.manifest)?;
    let mut pip = Command::new(folder.join(kit.file));
    pip.args(["-m", "pip", "install", "--no-input", "--requirement"])
        .arg(requirements);
    process::require(pip, task).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_is_pinned_exactly() {
        for kit in [BOTH_ERAS, LEGACY, FASTMCP] {
            let lines = kit.manifest.lines().filter(|line| !line.starts_with('#'));
            for line in lines {
                assert!(line.contains("=="), "{}: {line}", kit.name);
            }
        }
    }
}
