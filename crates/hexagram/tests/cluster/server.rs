//! Hexagram processes: `local`, and clusters of edges and workers.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::http::{Ask, Http};
use super::process::{Launch, Process};
use super::{ports, wait};

/// A Hexagram process with an admin address; `local` and edges also serve clients.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Server {
    /// `hexagram local` with these arguments, once all its workers are linked.
    pub(crate) async fn local(args: &[&str]) -> Self {
        Self::local_as(Launch::hexagram(), args).await
    }

    /// As [`Self::local`], in an environment of its own.
    pub(crate) async fn local_as(launch: Launch, args: &[&str]) -> Self {
        let mut server = Self::start(launch.args(["local"]), args, true);
        server.serving().await;
        server
    }

    /// `hexagram edge` with these arguments; it may not become ready.
    pub(crate) fn edge(args: &[&str]) -> Self {
        Self::start(Launch::hexagram().args(["edge"]), args, true)
    }

    /// A Hexagram role on free ports; `launch` ends with the role's name.
    pub(crate) fn start(launch: Launch, args: &[&str], for_clients: bool) -> Self {
        let (listen, admin) = (ports::free(), ports::free());
        let mut launch = launch.args(["--admin", &admin.to_string()]).args(args);
        if for_clients {
            launch = launch.args(["--listen", &listen.to_string()]);
        }
        Self {
            process: Process::spawn(launch),
            listen,
            admin,
        }
    }

    /// Where clients connect.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.listen)
    }

    /// Waits until it is ready and every worker is linked.
    pub(crate) async fn serving(&mut self) {
        self.ready().await;
        let admin = self.admin;
        wait::until("links to all workers", async || {
            let status = status(admin).await?;
            let links = status["links"].as_array()?;
            links.iter().all(|link| link["up"] == true).then_some(())
        })
        .await;
    }

    /// Waits until it is ready.
    pub(crate) async fn ready(&mut self) {
        let admin = self.admin;
        wait::until("readiness", async || {
            if let Some(code) = self.process.poll() {
                panic!("it ended with {code}:\n{}", self.process.log());
            }
            let ready = admin_page(admin, "/readyz").await;
            ready.is_some_and(|(status, _)| status == 200).then_some(())
        })
        .await;
    }

    /// The `/status` document.
    pub(crate) async fn status(&self) -> Value {
        status(self.admin)
            .await
            .expect("the status of a running process")
    }

    /// Whether the link to `worker` is up.
    pub(crate) async fn is_linked(&self, worker: &str) -> bool {
        let status = self.status().await;
        let mut links = status["links"].as_array().into_iter().flatten();
        links.any(|link| link["worker"] == worker && link["up"] == true)
    }

    /// The value of a metric without labels.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let (_, text) = admin_page(self.admin, "/metrics").await.expect("metrics");
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        value.unwrap().trim().parse().unwrap()
    }

    /// Ends it and starts it again on the same ports; gives its exit code.
    pub(crate) async fn restart(&mut self) -> Option<i32> {
        let status = self.process.end().await;
        self.process.respawn();
        self.serving().await;
        status.code()
    }
}

/// An admin page: status and body; `None` while nobody answers.
async fn admin_page(admin: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut http = Http::try_connect(admin).await.ok()?;
    let reply = http.try_send(&Ask::get(path)).await.ok()?;
    Some((reply.status, reply.text()))
}

async fn status(admin: SocketAddr) -> Option<Value> {
    let (_, text) = admin_page(admin, "/status").await?;
    serde_json::from_str(&text).ok()
}

/// Edges and workers as processes of their own.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) edges: Vec<Server>,
    pub(crate) workers: Vec<Server>,
    pub(crate) ring: PathBuf,
    /// The `--peer` arguments.
    pub(crate) peers: Vec<String>,
    _folder: TempDir,
}

impl Cluster {
    /// So many of each; `args` are the workers'.
    pub(crate) async fn start(edges: usize, workers: usize, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ring = folder.path().join("ring.txt");
        fs::write(&ring, key_ring()).unwrap();
        let peers: Vec<_> = (0..workers)
            .map(|n| format!("--peer=worker-{n}={}", ports::free()))
            .collect();
        let mut common = vec!["--keys", ring.to_str().unwrap()];
        common.extend(peers.iter().map(String::as_str));
        let worker = |n: usize| {
            let launch =
                Launch::hexagram().args(["worker".to_owned(), format!("--name=worker-{n}")]);
            Server::start(launch.args(args), &common, false)
        };
        let edge = |n: usize| {
            let launch = Launch::hexagram().args(["edge".to_owned(), format!("--name=edge-{n}")]);
            Server::start(launch, &common, true)
        };
        let mut cluster = Self {
            workers: (0..workers).map(worker).collect(),
            edges: (0..edges).map(edge).collect(),
            ring: ring.clone(),
            peers: peers.clone(),
            _folder: folder,
        };
        cluster.serving().await;
        cluster
    }

    async fn serving(&mut self) {
        for worker in &mut self.workers {
            worker.ready().await;
        }
        for edge in &mut self.edges {
            edge.serving().await;
        }
    }

    /// The edges' endpoints.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.edges.iter().map(Server::url).collect()
    }

    /// Sessions minted by all workers since they started.
    pub(crate) async fn sessions(&self) -> u64 {
        let mut sum = 0;
        for worker in &self.workers {
            sum += worker.metric("hexagram_worker_sessions_total").await;
        }
        sum
    }
}

/// What `hexagram keys ring` prints.
pub(crate) fn key_ring() -> Vec<u8> {
    let made = Launch::hexagram().args(["keys", "ring"]).command().output();
    made.unwrap().stdout
}

/// `hexagram keys link` into this folder.
pub(crate) fn link_keys(out: &Path, more: &[&str]) {
    let launch = Launch::hexagram()
        .args(["keys", "link", "--out"])
        .args([out]);
    let made = launch.args(more).command().output().unwrap();
    assert!(made.status.success(), "{made:?}");
}
