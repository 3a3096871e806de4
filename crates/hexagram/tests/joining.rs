//! Workers that join a controller, or may not: `/readyz` says which, and why.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use cluster::http::{Ask, Http};
use cluster::process::Launch;
use cluster::server::{key_ring, link_keys};
use cluster::{Server, ports, wait};

/// A controller's address, and a folder of key rings.
struct Place {
    control: SocketAddr,
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            control: ports::free(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn control(&self) -> Server {
        let listen = format!("--control-listen={}", self.control);
        Server::start(Launch::hexagram().args(["control", &listen]), &[], false)
    }

    fn ring(&self, name: &str) -> PathBuf {
        let ring = self.folder.path().join(name);
        fs::write(&ring, key_ring()).unwrap();
        ring
    }

    fn worker(&self, number: u8, ring: &Path, more: &[&str]) -> Server {
        let launch = Launch::hexagram()
            .args(["worker", "--demo=echo", &format!("--name=worker-{number}")])
            .args([format!("--control={}", self.control)])
            .args(["--keys".into(), ring.as_os_str().to_owned()]);
        Server::start(launch, more, false)
    }
}

/// What `/readyz` says, once somebody answers.
async fn readiness(server: &Server) -> Option<(u16, String)> {
    let mut http = Http::try_connect(server.admin).await.ok()?;
    let reply = http.try_send(&Ask::get("/readyz")).await.ok()?;
    Some((reply.status, reply.text()))
}

/// Waits until the worker is unready for this reason.
async fn unready(server: &Server, why: &str) {
    wait::until(why, async || {
        let (status, said) = readiness(server).await?;
        assert_eq!(status, 503, "{said}");
        said.contains(why).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_worker_is_ready_from_its_first_join_on() {
    let place = Place::new();
    let mut worker = place.worker(0, &place.ring("ring"), &[]);
    unready(&worker, "not joined: the controller does not answer").await;
    let mut control = place.control();
    worker.ready().await;
    let log = worker.process.log();
    assert!(log.contains("link=127.0.0.1:"), "{log}");
    assert!(
        !log.contains("link=127.0.0.1:0 "),
        "the port it took: {log}"
    );
    let count = |log: String, text: &str| log.matches(text).count();
    let lost = |log| count(log, "the controller is out of reach");
    wait::until("the controller is followed", async || {
        let found = count(worker.process.log(), "the controller answers again");
        (found == 1).then_some(())
    })
    .await;
    let before = lost(worker.process.log());
    control.process.kill().await;
    wait::until("its loss is noticed", async || {
        (lost(worker.process.log()) > before).then_some(())
    })
    .await;
    let (status, said) = readiness(&worker).await.unwrap();
    assert_eq!(status, 200, "{said}");
    worker.process.kill().await;
}

/// An API server that nobody reaches.
const NO_API_SERVER: &str = r#"{
    "apiVersion": "v1", "kind": "Config", "current-context": "a",
    "clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1:1", "certificate-authority": "ca.crt"}}],
    "users": [{"name": "a", "user": {}}],
    "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}]
}"#;

#[tokio::test]
async fn a_worker_that_no_operator_takes_in_says_where_to_look_for_one() {
    let place = Place::new();
    link_keys(place.folder.path(), &[]);
    let config = place.folder.path().join("kubeconfig");
    fs::write(&config, NO_API_SERVER).unwrap();
    let launch = Launch::hexagram()
        .variable("KUBECONFIG", &config)
        .args(["worker", "--demo=echo", "--name=worker-0"])
        .args(["--shard-map=hexagram", "--namespace=a", "--keys"])
        .args([place.ring("ring")]);
    let worker = Server::start(launch, &[], false);
    unready(&worker, "none runs").await;
    unready(&worker, "app.kubernetes.io/component=operator").await;
}

#[tokio::test]
async fn the_controller_s_admin_address_is_known_for_what_it_is() {
    let place = Place::new();
    let mut control = place.control();
    control.ready().await;
    let place = Place {
        control: control.admin,
        ..place
    };
    let worker = place.worker(0, &place.ring("ring"), &[]);
    unready(&worker, "it seems to be an admin address").await;
    unready(&worker, "--control-listen").await;
}

#[tokio::test]
async fn a_worker_that_does_not_go_with_the_others_says_so_until_they_end() {
    let place = Place::new();
    let (ring, other) = (place.ring("ring"), place.ring("other"));
    let _control = place.control();
    let mut first = place.worker(0, &ring, &[]);
    first.ready().await;
    let mut stored = place.worker(1, &ring, &["--store=redis://127.0.0.1:1/0"]);
    let mut second = place.worker(2, &other, &[]);
    unready(
        &stored,
        "worker-1 has a session store and worker-0 has none",
    )
    .await;
    unready(&second, "worker-2 and worker-0 have no key in common").await;
    stored.process.kill().await;
    first.process.kill().await;
    second.ready().await;
    second.process.kill().await;
}
