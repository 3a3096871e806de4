//! The Python MCP client, in a virtual environment.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::cache::{Cache, Kit};
use crate::process;
use crate::progress::Task;

use super::debian;

const CLIENT: Kit = Kit {
    name: "python",
    manifest: include_str!("../../tools/python/requirements.txt"),
    file: "bin/python",
};

/// Makes the environment and installs the pinned packages.
pub(super) fn install(cache: &Cache, task: &mut Task) -> Result<()> {
    cache.ensure(&CLIENT, |folder| {
        debian::require_program("python3", &["python3", "python3-venv"], task)?;
        if !can_make_environments() {
            debian::install("Python's venv module", &["python3-venv"], task)?;
        }
        task.print(["installing the Python MCP client"]);
        make_environment(folder, task)
    })
}

/// The environment's interpreter.
pub(super) fn binary(cache: &Cache) -> Result<PathBuf> {
    cache.require(&CLIENT)
}

/// Debian ships Python without what `python3 -m venv` needs.
fn can_make_environments() -> bool {
    let import = Command::new("python3")
        .args(["-c", "import ensurepip, venv"])
        .output();
    import.is_ok_and(|output| output.status.success())
}

fn make_environment(folder: &Path, task: &mut Task) -> Result<()> {
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(folder);
    process::require(venv, task)?;

    let requirements = folder.join("requirements.txt");
    fs::write(&requirements, CLIENT.manifest)?;
    let mut pip = Command::new(folder.join(CLIENT.file));
    pip.args(["-m", "pip", "install", "--no-input", "--requirement"])
        .arg(requirements);
    process::require(pip, task).map(|_| ())
}
