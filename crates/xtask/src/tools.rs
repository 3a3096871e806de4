//! `cargo xtask tools`: what the tests run besides our own code.

mod cargo;
mod debian;
mod node;
mod python;
mod redis;

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::cache::Cache;
use crate::progress::Task;

pub(crate) use cargo::{CARGO_DENY, CARGO_FUZZ, has_nightly};
pub(crate) use debian::on_path;

/// Installs what is missing; quick when nothing is.
///
/// # Errors
/// With the program or package that is missing and how to get it.
pub(crate) fn install(cache: &Cache, task: &mut Task) -> Result<()> {
    let _alone = cache.lock()?;
    node::install(cache, task)?;
    python::install(cache, task)?;
    redis::install(task)?;
    cargo::install(cache, task)
}

/// As [`install()`], only what [`suite`] needs.
pub(crate) fn install_suite(cache: &Cache, task: &mut Task) -> Result<()> {
    let _alone = cache.lock()?;
    node::install_suite(cache, task)
}

/// The MCP conformance suite, as a command that lacks its arguments.
///
/// # Errors
/// When it is not installed.
pub(crate) fn suite(cache: &Cache) -> Result<Command> {
    node::suite(cache)
}

/// The variables by which tests find the tools.
///
/// # Errors
/// When they are not installed.
pub(crate) fn env(cache: &Cache) -> Result<[(&'static str, PathBuf); 7]> {
    Ok([
        ("HEXAGRAM_NODE", node::binary(cache)?),
        ("HEXAGRAM_NODE_PACKAGES", node::packages(cache)?),
        ("HEXAGRAM_NODE_22", node::newest(cache)?),
        ("HEXAGRAM_INSPECTOR", node::inspector(cache)?),
        ("HEXAGRAM_PYTHON", cache.require(&python::BOTH_ERAS)?),
        ("HEXAGRAM_PYTHON_1", cache.require(&python::LEGACY)?),
        ("HEXAGRAM_FASTMCP", cache.require(&python::FASTMCP)?),
    ])
}

/// Installs, then prints [`env()`] as lines for a shell.
pub(crate) fn install_and_print(cache: &Cache) -> Result<()> {
    let mut task = Task::start("tools");
    let installed = install(cache, &mut task);
    task.end(if installed.is_ok() { "ok" } else { "FAILED" });
    installed?;
    for (name, value) in env(cache)? {
        writeln!(stdout(), "{name}={}", value.display())?;
    }
    Ok(())
}
