//! Cargo subcommands, pinned, so that a new release cannot break the tests.

use std::process::Command;

use anyhow::Result;

use crate::cache::{Cache, Kit};
use crate::process;
use crate::progress::Task;

/// Checks `deny.toml`.
pub(crate) const CARGO_DENY: Kit = Kit {
    name: "cargo-deny",
    manifest: "0.20.2",
    file: "bin/cargo-deny",
};

/// Builds and runs fuzz targets.
pub(crate) const CARGO_FUZZ: Kit = Kit {
    name: "cargo-fuzz",
    manifest: "0.13.2",
    file: "bin/cargo-fuzz",
};

/// Builds the subcommands; `cargo-fuzz` only where it could run.
pub(super) fn install(cache: &Cache, task: &mut Task) -> Result<()> {
    build(&CARGO_DENY, cache, task)?;
    if has_nightly() {
        build(&CARGO_FUZZ, cache, task)?;
    }
    Ok(())
}

/// Whether rustup has a nightly toolchain: sanitizers need one.
pub(crate) fn has_nightly() -> bool {
    let list = Command::new("rustup").args(["toolchain", "list"]).output();
    list.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("nightly"))
}

fn build(kit: &Kit, cache: &Cache, task: &mut Task) -> Result<()> {
    cache.ensure(kit, |folder| {
        task.print([format!("building {} {}", kit.name, kit.manifest).as_str()]);
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        command
            .args(["install", kit.name, "--version", kit.manifest])
            // Unoptimised: twice as fast to build, and still quick enough to run.
            .args(["--locked", "--debug", "--root"])
            .arg(folder)
            // Without it cargo builds in a temporary folder and clears it.
            .env_remove("CARGO_TARGET_DIR");
        process::require(command, task).map(|_| ())
    })
}
