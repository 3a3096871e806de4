//! Node.js and the npm packages: real MCP servers and clients.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cache::{Cache, Kit};
use crate::process;
use crate::progress::Task;

use super::debian;

/// What the packages ask for in their `engines`.
const OLDEST_MAJOR: u32 = 20;

const PACKAGES: Kit = Kit {
    name: "node",
    manifest: include_str!("../../tools/node/package-lock.json"),
    file: "node_modules/@modelcontextprotocol/server-everything/dist/index.js",
};
const PACKAGE_JSON: &str = include_str!("../../tools/node/package.json");

/// The MCP conformance suite.
const SUITE: Kit = Kit {
    name: "conformance",
    manifest: include_str!("../../tools/conformance/package-lock.json"),
    file: "node_modules/@modelcontextprotocol/conformance/dist/index.js",
};
const SUITE_JSON: &str = include_str!("../../tools/conformance/package.json");

/// The MCP Inspector, whose command line is a client.
const INSPECTOR: Kit = Kit {
    name: "inspector",
    manifest: include_str!("../../tools/inspector/package-lock.json"),
    file: "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js",
};
const INSPECTOR_JSON: &str = include_str!("../../tools/inspector/package.json");

/// Node.js itself, as an npm package: for the suite and the Inspector, which
/// need 22, and for the rest where the system's is too old.
const NODE: Kit = Kit {
    name: "node22",
    manifest: "node@22.23.3",
    file: "node_modules/node/bin/node",
};

/// Installs the servers and clients, the suite, and the Node.js that it needs.
pub(super) fn install(cache: &Cache, task: &mut Task) -> Result<()> {
    install_suite(cache, task)?;
    install_packages(&INSPECTOR, INSPECTOR_JSON, cache, task)?;
    install_packages(&PACKAGES, PACKAGE_JSON, cache, task)
}

/// Installs the suite and the Node.js that it needs.
pub(super) fn install_suite(cache: &Cache, task: &mut Task) -> Result<()> {
    cache.ensure(&NODE, |folder| {
        require_npm(task)?;
        task.print(["installing Node.js 22"]);
        fs::write(folder.join("package.json"), "{}")?;
        npm(folder, &["install", NODE.manifest], task)
    })?;
    install_packages(&SUITE, SUITE_JSON, cache, task)
}

/// Installs exactly what the kit's lock file says.
fn install_packages(kit: &Kit, package_json: &str, cache: &Cache, task: &mut Task) -> Result<()> {
    cache.ensure(kit, |folder| {
        require_npm(task)?;
        task.print([format!("installing {} from npm", kit.name).as_str()]);
        fs::write(folder.join("package.json"), package_json)?;
        fs::write(folder.join("package-lock.json"), kit.manifest)?;
        npm(folder, &["ci", "--ignore-scripts"], task)
    })
}

/// The suite, as a command that lacks its arguments.
pub(super) fn suite(cache: &Cache) -> Result<Command> {
    let mut command = Command::new(cache.require(&NODE)?);
    command.arg(cache.require(&SUITE)?);
    Ok(command)
}

/// A Node.js that is new enough: the system's, else ours.
pub(super) fn binary(cache: &Cache) -> Result<PathBuf> {
    system_node().map_or_else(|| cache.require(&NODE), Ok)
}

/// Node.js 22.
pub(super) fn newest(cache: &Cache) -> Result<PathBuf> {
    cache.require(&NODE)
}

/// The Inspector's entry point, for [`newest`].
pub(super) fn inspector(cache: &Cache) -> Result<PathBuf> {
    cache.require(&INSPECTOR)
}

/// The folder with `package.json` and `node_modules`.
pub(super) fn packages(cache: &Cache) -> Result<PathBuf> {
    cache.require(&PACKAGES)?;
    Ok(cache.folder(&PACKAGES))
}

/// One after the other: some Node.js packages bring npm and conflict with Debian's.
fn require_npm(task: &mut Task) -> Result<()> {
    debian::require_program("node", &["nodejs"], task)?;
    debian::require_program("npm", &["npm"], task)
}

fn npm(folder: &Path, args: &[&str], task: &mut Task) -> Result<()> {
    let mut command = Command::new("npm");
    command
        .args(args)
        .args(["--no-audit", "--no-fund", "--no-update-notifier"])
        .current_dir(folder);
    process::require(command, task).map(|_| ())
}

fn system_node() -> Option<PathBuf> {
    let node = debian::on_path("node")?;
    let output = Command::new(&node).arg("--version").output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    (major(&version).ok()? >= OLDEST_MAJOR).then_some(node)
}

/// The major number of `v20.20.2`.
fn major(version: &str) -> Result<u32> {
    let digits = version.trim().trim_start_matches('v').split('.').next();
    let digits = digits.unwrap_or_default();
    digits
        .parse()
        .with_context(|| format!("read the Node.js version {version:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_major_version() {
        assert_eq!(major("v20.20.2\n").unwrap(), 20);
        assert!(major("nonsense").is_err());
    }

    #[test]
    fn every_package_is_pinned_exactly() {
        for package_json in [PACKAGE_JSON, SUITE_JSON, INSPECTOR_JSON] {
            let manifest: serde_json::Value = serde_json::from_str(package_json).unwrap();
            for (name, version) in manifest["dependencies"].as_object().unwrap() {
                let version = version.as_str().unwrap();
                assert!(
                    version.starts_with(|c: char| c.is_ascii_digit()),
                    "{name} {version}"
                );
            }
        }
    }

    #[test]
    fn the_lock_files_name_no_registry() {
        for kit in [PACKAGES, SUITE, INSPECTOR] {
            assert!(!kit.manifest.contains("\"resolved\""), "{}", kit.name);
        }
    }
}
