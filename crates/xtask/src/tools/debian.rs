//! System packages: installed where we may, named where we may not.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::process;
use crate::progress::Task;

/// Makes sure that `program` can be called.
///
/// # Errors
/// When it is missing and we are not root on Debian: says what to install.
pub(super) fn require_program(program: &str, packages: &[&str], task: &mut Task) -> Result<()> {
    if on_path(program).is_some() {
        return Ok(());
    }
    install(&format!("`{program}`"), packages, task)
}

/// Installs Debian packages that bring `what`.
pub(super) fn install(what: &str, packages: &[&str], task: &mut Task) -> Result<()> {
    let names = packages.join(" ");
    if !is_root_on_debian() {
        bail!("{what} is missing: install it (on Debian: `apt-get install {names}`) and run again");
    }
    task.print([format!("{what} is missing: installing {names} with apt-get").as_str()]);
    process::require(apt(&["update"]), task)?;
    let args = [&["install", "--yes", "--no-install-recommends"], packages].concat();
    process::require(apt(&args), task).map(|_| ())
}

/// Where a program is, by `PATH`.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

fn apt(args: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(args).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn is_root_on_debian() -> bool {
    let id = Command::new("id").arg("-u").output();
    let root = id.is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    root && Path::new("/etc/debian_version").exists()
}
