//! `cargo xtask cluster`: a Kubernetes cluster on this machine, made by kind, with the
//! image in it. It never changes which cluster `kubectl` talks to by itself.

mod image;
mod kind;
pub(crate) mod programs;
mod status;

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::cache::Cache;
use crate::process;
use crate::progress::Task;
use crate::workspace::Workspace;

pub(crate) use image::{IMAGE, METRICS, NEXT, STORE, is_here};
pub(crate) use kind::Kind;

use status::Status;

/// What to do with the cluster.
#[derive(clap::Subcommand)]
pub(crate) enum Order {
    /// Make the cluster unless it is there, build the image and load it
    Up(Up),
    /// Delete the cluster and all that runs in it
    Down,
    /// Show the cluster, its nodes, the image and what Helm installed
    Status,
}

/// Where the binary in the image comes from.
#[derive(clap::Args, Default)]
pub(crate) struct Up {
    /// Put this binary into the image; the release build by default, built when absent
    #[arg(long, value_name = "FILE", env = "HEXAGRAM_BIN")]
    pub(crate) binary: Option<PathBuf>,
    /// Build the release binary first, also when there is one
    #[arg(long, conflicts_with = "binary")]
    pub(crate) build: bool,
}

/// The help of `cargo xtask cluster`, after its commands.
pub(crate) const HELP: &str = "\
Needs docker, kind, kubectl and helm on the path. KIND_NODE_IMAGE names another node \
image than kind's own, HEXAGRAM_BASE_IMAGE another base image than the Dockerfile's. \
The cluster's kubeconfig is a file of its own: your current context stays.

Examples:
  cargo xtask cluster up
  cargo xtask cluster up --binary target/debug/hexagram
  cargo xtask cluster status
  cargo xtask cluster down";

/// `cargo xtask cluster`.
///
/// # Errors
/// When a program is missing or fails; the error says which.
pub(crate) fn command(workspace: &Workspace, cache: &Cache, order: &Order) -> Result<()> {
    programs::require()?;
    let kind = Kind::new(workspace, cache);
    match order {
        Order::Up(args) => {
            up(workspace, cache, args)?;
            print_next(workspace, &kind)
        }
        Order::Down => stage("cluster down", |task| kind.delete(task)),
        Order::Status => {
            let status = stage("cluster status", |task| Status::of(&kind, task))?;
            Ok(write!(stdout(), "{status}")?)
        }
    }
}

/// Brings the cluster up with a fresh image; whether it was made now.
///
/// # Errors
/// As [`command()`].
pub(crate) fn up(workspace: &Workspace, cache: &Cache, args: &Up) -> Result<bool> {
    let kind = Kind::new(workspace, cache);
    let binary = stage("binary", |task| binary(workspace, args, task))?;
    let _alone = cache.lock()?;
    let made = stage("cluster", |task| kind.ensure(task))?;
    stage("image", |task| {
        image::build(workspace, &binary, task)?;
        kind.load(IMAGE, task)
    })?;
    Ok(made)
}

/// Puts into the cluster what is in none that users make: the image as a later release
/// and other programs' images, as far as they are here.
///
/// # Errors
/// When Docker or kind fails.
pub(crate) fn load_more(workspace: &Workspace, cache: &Cache) -> Result<()> {
    let kind = Kind::new(workspace, cache);
    stage("more images", |task| {
        image::tag_next(task)?;
        let images = [NEXT, STORE, METRICS].into_iter();
        let mut here = images.filter(|image| is_here(image));
        here.try_for_each(|image| kind.load(image, task))
    })
}

/// Deletes the cluster.
///
/// # Errors
/// When kind fails.
pub(crate) fn down(workspace: &Workspace, cache: &Cache) -> Result<()> {
    let kind = Kind::new(workspace, cache);
    stage("cluster down", |task| kind.delete(task))
}

/// Shows `work` as a task of its own.
fn stage<T>(label: &str, work: impl FnOnce(&mut Task) -> Result<T>) -> Result<T> {
    let mut task = Task::start(label);
    let done = work(&mut task);
    task.end(if done.is_ok() { "ok" } else { "FAILED" });
    done
}

fn binary(workspace: &Workspace, args: &Up, task: &mut Task) -> Result<PathBuf> {
    let binary = match &args.binary {
        Some(binary) => binary.clone(),
        None => workspace.release_binary(),
    };
    if args.build || (args.binary.is_none() && !binary.exists()) {
        let build = workspace.cargo(&["build", "--release", "-p", "hexagram"]);
        process::require(build, task)?;
    }
    ensure!(binary.exists(), "there is no {}", binary.display());
    Ok(binary)
}

/// The next command, to copy.
fn print_next(workspace: &Workspace, kind: &Kind<'_>) -> Result<()> {
    let (repository, tag) = IMAGE.split_once(':').unwrap_or((IMAGE, "latest"));
    let text = format!(
        "\
Install Hexagram there:
  export KUBECONFIG={}
  helm install hexagram {} --set image.repository={repository} --set image.tag={tag} \\
      --set service.type=NodePort --set service.nodePort={}
Then clients reach it at http://127.0.0.1:{2}/mcp
",
        kind.kubeconfig().display(),
        shown(&workspace.root.join("charts/hexagram")).display(),
        kind::NODE_PORT,
    );
    Ok(stdout().write_all(text.as_bytes())?)
}

/// Relative to where we are, where that is shorter to read.
fn shown(path: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).to_owned()
}
