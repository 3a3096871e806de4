//! Mutual TLS on links between processes: who is linked, who is refused and what both are
//! told, and certificates that are renewed. Moves over TLS are in `moves/planned.rs`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use std::fs;
use std::path::{Path, PathBuf};

use hexagram_control::{Unheard, VisitError, visit};
use hexagram_core::ShardCount;
use hexagram_edge::{Connector, WorkerAddress};
use hexagram_runtime::metrics::Metrics;
use hexagram_tls::{Identity, LinkTls, Role};
use serde_json::json;
use tempfile::TempDir;

use cluster::http::{Ask, Http};
use cluster::mcp::{echo, modern, text};
use cluster::process::Launch;
use cluster::server::{key_ring, link_keys};
use cluster::{Controlled, Server, ports, wait};

/// One worker's address, a key ring, and folders of certificates.
struct Place {
    peer: String,
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ring"), key_ring()).unwrap();
        let peer = format!("--peer=worker-0={}", ports::free());
        let place = Self { peer, folder };
        place.keys("links", &[]);
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn keys(&self, name: &str, more: &[&str]) {
        link_keys(&self.at(name), more);
    }

    /// `links`: a folder for --link-tls, if any.
    fn start(&self, role: &[&str], links: Option<&str>, for_clients: bool) -> Server {
        let ring = self.at("ring");
        let mut args = vec![self.peer.clone(), format!("--keys={}", ring.display())];
        args.extend(links.map(|links| format!("--link-tls={}", self.at(links).display())));
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        Server::start(Launch::hexagram().args(role), &args, for_clients)
    }

    fn worker(&self, links: Option<&str>) -> Server {
        self.start(&["worker", "--name=worker-0", "--demo=echo"], links, false)
    }

    fn edge(&self, links: Option<&str>) -> Server {
        self.start(&["edge", "--drain-delay=0"], links, true)
    }
}

async fn logs(server: &Server, said: &str) {
    wait::until(said, async || {
        server.process.log().contains(said).then_some(())
    })
    .await;
}

/// Waits until `/readyz` gives this reason.
async fn is_unready(server: &Server, why: &str) {
    wait::until(why, async || {
        let mut http = Http::try_connect(server.admin).await.ok()?;
        let reply = http.try_send(&Ask::get("/readyz")).await.ok()?;
        assert_eq!(reply.status, 503, "{}", reply.text());
        reply.text().contains(why).then_some(())
    })
    .await;
}

async fn answers(edge: &Server) {
    let mut http = Http::connect(edge.listen).await;
    let reply = http.send(&modern(1, "tools/call", &echo("over TLS"))).await;
    assert_eq!(text(&reply), "over TLS");
}

#[tokio::test]
async fn who_lacks_tls_or_has_another_ca_is_told_what_to_do() {
    let place = Place::new();
    place.keys("strange", &[]);
    place.keys("foreign", &[]);
    let mut worker = place.worker(Some("links/worker"));
    worker.ready().await;
    let plain = place.edge(None);
    logs(&plain, "this process was not given --link-tls").await;
    logs(
        &worker,
        "it speaks no TLS, and this worker was given --link-tls",
    )
    .await;
    let strange = place.edge(Some("strange/edge"));
    logs(&strange, "is of a CA that is not in this process's ca.crt").await;
    logs(&worker, "it does not trust this worker").await;
    // It trusts the worker, but the worker does not trust it.
    fs::copy(place.at("links/ca.crt"), place.at("foreign/edge/ca.crt")).unwrap();
    let foreign = place.edge(Some("foreign/edge"));
    logs(&foreign, "its CA is not in the worker's ca.crt").await;
    logs(&worker, "is of a CA that is not in this worker's ca.crt").await;
    let mut right = place.edge(Some("links/edge"));
    right.serving().await;
    answers(&right).await;
}

#[tokio::test]
async fn a_worker_without_tls_is_found_out() {
    let place = Place::new();
    let mut worker = place.worker(None);
    worker.ready().await;
    let edge = place.edge(Some("links/edge"));
    logs(&edge, "what answers there speaks no TLS").await;
    is_unready(&edge, "worker-0: connect: what answers there speaks no TLS").await;
    logs(
        &worker,
        "it speaks TLS, and this worker was not given --link-tls",
    )
    .await;
}

#[tokio::test]
async fn unusable_certificates_are_a_mistake_in_a_file() {
    let place = Place::new();
    for (links, said) in [
        ("nowhere", "hexagram keys link"),
        ("links/edge", "this process is a worker"),
    ] {
        let mut worker = place.worker(Some(links));
        assert_eq!(worker.process.wait().await.code(), Some(78));
        let log = worker.process.log();
        assert!(log.contains(said), "{log}");
    }
}

/// An edge that is taken over has a certificate and can dial.
#[tokio::test]
async fn an_edge_may_not_ask_what_a_controller_may() {
    let folder = tempfile::tempdir().unwrap();
    link_keys(folder.path(), &[]);
    let flag = |role| format!("--link-tls={}", folder.path().join(role).display());
    let at = ports::free().to_string();
    let link = format!("--link={at}");
    let worker = [flag("worker"), link, "--demo=echo".to_owned()];
    let worker: Vec<_> = worker.iter().map(String::as_str).collect();
    let _cluster = Controlled::start(0, 1, &worker, &[&flag("controller")]).await;
    let ask = async |role: Role| {
        let tls = LinkTls::new(role, &Metrics::new());
        let identity = Identity::read(&folder.path().join(role.word())).unwrap();
        tls.take(&identity).unwrap();
        let place = at.clone();
        let connect = move || {
            let (tls, place) = (tls.clone(), place.clone());
            async move { tls.connect(&place).await }
        };
        let way = WorkerAddress::By(Connector::new(at.clone(), connect));
        wait::until("an answer", async || {
            let asked = visit(&way, &at, "hexagram", ShardCount::default()).await;
            match asked {
                // It is not up yet, or busy.
                Err(VisitError::Late | VisitError::Unheard(Unheard::Refused(_))) => None,
                asked => Some(asked),
            }
        })
        .await
    };
    let refused = ask(Role::Edge).await.unwrap_err().to_string();
    assert!(refused.contains("another role (edge)"), "{refused}");
    let name = ask(Role::Controller).await.unwrap().who.owner.worker;
    assert_eq!(name.as_str(), "worker-0");
}

async fn expires(server: &Server) -> u64 {
    server
        .metric("hexagram_link_certificate_expires_seconds")
        .await
}

/// All files of the folder `from`, as a renewal would.
fn replace(from: &Path, to: &Path) {
    for name in ["ca.crt", "tls.crt", "tls.key"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

#[tokio::test]
async fn renewed_certificates_count_for_new_links_and_the_others_stay() {
    let place = Place::new();
    let mut worker = place.worker(Some("links/worker"));
    let mut edge = place.edge(Some("links/edge"));
    worker.ready().await;
    edge.serving().await;
    let before = expires(&worker).await;
    place.keys("links", &["--days=30"]);
    for server in [&worker, &edge] {
        logs(server, "the link's certificates are renewed").await;
        assert!(expires(server).await < before);
    }
    answers(&edge).await;
    // Another CA altogether: who is linked stays, and who comes needs the new one.
    place.keys("others", &[]);
    replace(&place.at("others/worker"), &place.at("links/worker"));
    wait::until("another CA", async || {
        let log = worker.process.log();
        (log.matches("the link's certificates are renewed").count() == 2).then_some(())
    })
    .await;
    assert!(edge.is_linked("worker-0").await);
    answers(&edge).await;
    assert!(!edge.process.log().contains("link down"));
    let mut new = place.edge(Some("others/edge"));
    new.serving().await;
    answers(&new).await;
    let old = place.edge(Some("links/edge"));
    logs(&old, "is of a CA that is not in this process's ca.crt").await;
    let status = new.status().await;
    assert_eq!(status["links"][0]["up"], json!(true));
}
