//! The cluster itself: made by kind, one container a node.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cache::Cache;
use crate::process;
use crate::progress::Task;
use crate::workspace::Workspace;

/// The cluster's name, for kind.
pub(super) const NAME: &str = "hexagram";
/// What `manifests/kind.yaml` maps to 127.0.0.1.
pub(crate) const NODE_PORT: u16 = 30080;
/// A node that is not ready by then never will be.
const DEADLINE: &str = "180s";

/// The cluster `hexagram`, there or not.
pub(crate) struct Kind<'a> {
    workspace: &'a Workspace,
    kubeconfig: PathBuf,
}

impl<'a> Kind<'a> {
    pub(crate) fn new(workspace: &'a Workspace, cache: &Cache) -> Self {
        Self {
            workspace,
            kubeconfig: cache.file("kind.kubeconfig"),
        }
    }

    /// The file that reaches the cluster, once it is there.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Where clients reach what is installed there.
    pub(crate) fn url() -> String {
        format!("http://127.0.0.1:{NODE_PORT}/mcp")
    }

    /// Whether the cluster is there.
    ///
    /// # Errors
    /// When kind cannot tell, as without a Docker daemon.
    pub(super) fn exists(&self) -> Result<bool> {
        let clusters = process::output(kind(&["get", "clusters"]))
            .context("ask kind for its clusters: does the Docker daemon run?")?;
        Ok(clusters.lines().any(|line| line.trim() == NAME))
    }

    /// Makes the cluster unless it is there, and waits for its nodes; whether it made it.
    pub(super) fn ensure(&self, task: &mut Task) -> Result<bool> {
        let exists = self.exists()?;
        if exists {
            self.export(task)?;
        } else {
            self.create(task)?;
        }
        self.wait(task).context(
            "the nodes are not ready; `cargo xtask cluster down` makes way for new ones",
        )?;
        Ok(!exists)
    }

    fn create(&self, task: &mut Task) -> Result<()> {
        let config = self.workspace.root.join("manifests/kind.yaml");
        ensure!(config.exists(), "there is no {}", config.display());
        let mut create = self.order(&["create", "cluster"]);
        create
            .arg("--config")
            .arg(config)
            .args(["--wait", DEADLINE]);
        if let Some(image) = named("KIND_NODE_IMAGE") {
            create.arg("--image").arg(image);
        }
        process::require(create, task).map(|_| ())
    }

    /// Writes the kubeconfig anew: the cluster may be older than the cache.
    pub(super) fn export(&self, task: &mut Task) -> Result<()> {
        let export = self.order(&["export", "kubeconfig"]);
        process::require(export, task).map(|_| ())
    }

    fn wait(&self, task: &mut Task) -> Result<()> {
        let mut wait = self.kubectl();
        wait.args(["wait", "--for=condition=Ready", "nodes", "--all"]);
        wait.arg(format!("--timeout={DEADLINE}"));
        process::require(wait, task).map(|_| ())
    }

    /// Deletes the cluster if it is there.
    pub(super) fn delete(&self, task: &mut Task) -> Result<()> {
        let delete = self.order(&["delete", "cluster"]);
        process::require(delete, task).map(|_| ())
    }

    /// Puts an image of the Docker daemon into every node.
    pub(super) fn load(&self, image: &str, task: &mut Task) -> Result<()> {
        let load = kind(&["load", "docker-image", image, "--name", NAME]);
        process::require(load, task).map(|_| ())
    }

    /// The nodes' names, which are their containers' names.
    pub(super) fn nodes(&self) -> Result<Vec<String>> {
        let nodes = process::output(kind(&["get", "nodes", "--name", NAME]))?;
        Ok(nodes.lines().map(str::to_owned).collect())
    }

    /// `kubectl` for this cluster.
    pub(super) fn kubectl(&self) -> Command {
        self.client("kubectl")
    }

    /// `helm` for this cluster.
    pub(super) fn helm(&self) -> Command {
        self.client("helm")
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command
    }

    /// An order about this cluster that writes to its kubeconfig and to no other.
    fn order(&self, args: &[&str]) -> Command {
        let mut order = kind(args);
        order.args(["--name", NAME]);
        order.arg("--kubeconfig").arg(&self.kubeconfig);
        order
    }
}

fn kind(args: &[&str]) -> Command {
    let mut command = Command::new("kind");
    command.args(args);
    command
}

/// A variable that is set and not empty.
pub(super) fn named(variable: &str) -> Option<String> {
    std::env::var(variable)
        .ok()
        .filter(|value| !value.is_empty())
}
