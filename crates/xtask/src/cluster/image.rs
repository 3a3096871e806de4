//! The image of the binary, from the Dockerfile that users build with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::progress::Task;
use crate::workspace::Workspace;
use crate::{process, tools};

use super::kind::named;

/// Its name, for Docker and in the nodes.
pub(crate) const IMAGE: &str = "hexagram:e2e";

/// The same under another tag, as a later release has.
pub(crate) const NEXT: &str = "hexagram:e2e-next";
/// What some scenarios need beside it. Registries may be out of reach: what the Docker
/// daemon has not got is done without.
pub(crate) const STORE: &str = "redis:7-bookworm";
pub(crate) const METRICS: &str = "registry.k8s.io/metrics-server/metrics-server:v0.9.0";

/// What the Dockerfile's stages start from, unless `HEXAGRAM_BASE_IMAGE` names another:
/// the one that compiles is not asked to, so it needs no compiler.
const BASE: &str = "debian:bookworm-slim";
/// Where systems keep the authorities that upstreams and stores are trusted by.
const AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Builds the image with `binary` in it.
pub(super) fn build(workspace: &Workspace, binary: &Path, task: &mut Task) -> Result<()> {
    let context = context(workspace, binary, task).context("gather what goes into the image")?;
    let base = named("HEXAGRAM_BASE_IMAGE");
    let mut build = Command::new("docker");
    build
        .args(["build", "--tag", IMAGE, "--file"])
        .arg(workspace.root.join("Dockerfile"))
        .args(arguments(base.as_deref().unwrap_or(BASE)))
        .arg(context);
    process::require(build, task)?;
    task.print([format!("{IMAGE}: {}", size()?).as_str()]);
    Ok(())
}

/// How large the image is, unpacked.
fn size() -> Result<String> {
    let mut inspect = Command::new("docker");
    inspect.args(["image", "inspect", "--format={{.Size}}", IMAGE]);
    let bytes = process::output(inspect)?;
    let bytes = bytes.trim().parse::<u64>();
    bytes.context("read the size of the image").map(megabytes)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// Gives the image its second name.
pub(super) fn tag_next(task: &mut Task) -> Result<()> {
    let mut tag = Command::new("docker");
    tag.args(["tag", IMAGE, NEXT]);
    process::require(tag, task).map(|_| ())
}

/// Whether the Docker daemon has an image.
pub(crate) fn is_here(image: &str) -> bool {
    let mut inspect = Command::new("docker");
    inspect.args(["image", "inspect", "--format={{.Id}}", image]);
    process::output(inspect).is_ok()
}

/// The Dockerfile's arguments: nothing is compiled there.
fn arguments(base: &str) -> Vec<String> {
    let pairs = [
        ("RUST_IMAGE", base),
        ("BASE_IMAGE", base),
        ("BINARY", "dist/hexagram"),
        ("CERTIFICATES", "dist/ca-certificates.crt"),
    ];
    let argument = |(name, value)| ["--build-arg".to_owned(), format!("{name}={value}")];
    pairs.into_iter().flat_map(argument).collect()
}

/// A folder with what the image gets and nothing else: the tree with its targets is large.
fn context(workspace: &Workspace, binary: &Path, task: &mut Task) -> Result<PathBuf> {
    let folder = workspace.target.join("image");
    let dist = folder.join("dist");
    fs::create_dir_all(&dist).with_context(|| format!("create {}", dist.display()))?;
    let copy = dist.join("hexagram");
    fs::copy(binary, &copy).with_context(|| format!("copy {}", binary.display()))?;
    strip(&copy, task)?;
    let authorities = AUTHORITIES
        .into_iter()
        .find(|file| Path::new(file).exists());
    let authorities = authorities.context("no certificate authorities: install ca-certificates")?;
    fs::copy(authorities, dist.join("ca-certificates.crt"))
        .with_context(|| format!("copy {authorities}"))?;
    Ok(folder)
}

/// Only the image's size depends on it.
fn strip(binary: &Path, task: &mut Task) -> Result<()> {
    if tools::on_path("strip").is_none() {
        task.print(["the binary keeps its symbols: `strip` is missing (binutils has it)"]);
        return Ok(());
    }
    let mut strip = Command::new("strip");
    strip.arg(binary);
    process::require(strip, task).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_told_as_docker_tells_it() {
        assert_eq!(megabytes(41_141_742), "41.1 MB");
    }
}
