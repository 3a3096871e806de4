//! A cluster under `hexagram control`, whose shards move between workers.

use std::fs;
use std::process::Output;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::process::Launch;
use super::server::key_ring;
use super::{Server, ports, wait};

/// The controller and those who follow it.
#[derive(Debug)]
pub(crate) struct Controlled {
    pub(crate) edges: Vec<Server>,
    pub(crate) workers: Vec<Server>,
    pub(crate) control: Server,
    /// What edges and workers are given alike.
    common: Vec<String>,
    _folder: TempDir,
}

impl Controlled {
    /// So many of each; `args` are the workers', `control` the controller's.
    pub(crate) async fn start(
        edges: usize,
        workers: usize,
        args: &[&str],
        control: &[&str],
    ) -> Self {
        Self::start_as(edges, workers, args, control, &[]).await
    }

    /// As [`Self::start`], with arguments for the edges.
    pub(crate) async fn start_as(
        edges: usize,
        workers: usize,
        args: &[&str],
        control: &[&str],
        more: &[&str],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ring = folder.path().join("ring.txt");
        fs::write(&ring, key_ring()).unwrap();
        let at = ports::free();
        let url = format!("http://{at}");
        let common = ["--keys", ring.to_str().unwrap(), "--control", &url].map(str::to_owned);
        let worker = |n| Server::start(role("worker", n, &common).args(args), &[], false);
        let edge = |n| edge(n, &common, more);
        let expected = format!("--workers-expected={workers}");
        let controller = Launch::hexagram()
            .args(["control", &format!("--control-listen={at}"), &expected])
            .args(control);
        let mut cluster = Self {
            control: Server::start(controller, &[], false),
            workers: (0..workers).map(worker).collect(),
            edges: (0..edges).map(edge).collect(),
            common: common.to_vec(),
            _folder: folder,
        };
        cluster.control.ready().await;
        for edge in &mut cluster.edges {
            edge.serving().await;
        }
        cluster
    }

    /// Starts another edge, which may not become ready.
    pub(crate) fn another_edge(&mut self, more: &[&str]) -> &mut Server {
        let edge = edge(self.edges.len(), &self.common, more);
        self.edges.push(edge);
        self.edges.last_mut().unwrap()
    }

    /// Where the workers' links are, as the controller knows it.
    pub(crate) async fn links(&self) -> Vec<String> {
        let status = self.control.status().await;
        let workers = status["workers"].as_array().into_iter().flatten();
        let addresses = workers.map(|worker| worker["address"].as_str().unwrap().to_owned());
        addresses.collect()
    }

    /// Orders something of the controller with the command line.
    pub(crate) async fn order(&self, args: &[&str]) -> Output {
        let admin = self.control.admin.to_string();
        let launch = Launch::hexagram().args(args).args(["--admin", &admin]);
        let run = tokio::task::spawn_blocking(move || launch.command().output());
        wait::within(format!("{args:?}"), run)
            .await
            .unwrap()
            .unwrap()
    }

    /// As [`Self::order`], for an order that is followed.
    pub(crate) async fn obey(&self, args: &[&str]) {
        let output = self.order(args).await;
        assert!(output.status.success(), "{args:?}: {output:?}");
    }

    /// The owner and epoch of each shard, as the controller has written them.
    pub(crate) async fn owners(&self) -> Vec<(String, u64)> {
        let status = self.control.status().await;
        let shards = status["shards"].as_array().into_iter().flatten();
        shards.map(owner).collect()
    }

    /// How many shards this worker owns.
    pub(crate) async fn count(&self, worker: &str) -> usize {
        let owners = self.owners().await;
        owners.iter().filter(|(owner, _)| owner == worker).count()
    }
}

impl Drop for Controlled {
    /// A first signal starts a drain, and the last worker has nobody to drain to.
    /// The second one, as the process is dropped, ends it at once.
    fn drop(&mut self) {
        for worker in &mut self.workers {
            if worker.process.poll().is_none() {
                worker.process.signal(Signal::TERM);
            }
        }
    }
}

fn role(role: &str, n: usize, common: &[String]) -> Launch {
    let name = [role.to_owned(), format!("--name={role}-{n}")];
    Launch::hexagram().args(name).args(common)
}

fn edge(n: usize, common: &[String], more: &[&str]) -> Server {
    let launch = role("edge", n, common).args(["--drain-delay=0"]);
    Server::start(launch.args(more), &[], true)
}

fn owner(shard: &Value) -> (String, u64) {
    let name = shard["owner"].as_str().unwrap_or_default();
    (name.to_owned(), shard["epoch"].as_u64().unwrap_or_default())
}
