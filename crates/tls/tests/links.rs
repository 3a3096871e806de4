//! Both ends over loopback: who is let in, who is not, and what each of them is told.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use hexagram_runtime::clock::unix_seconds;
use hexagram_runtime::metrics::Metrics;
use hexagram_tls::{Authority, Identity, LinkTls, Role, TlsError, incoming, plain_incoming};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

const DAY: Duration = Duration::from_secs(86_400);
const SOON: Duration = Duration::from_secs(4);

fn authority() -> Authority {
    Authority::generate(unix_seconds(), 10 * DAY).unwrap()
}

fn issued(authority: &Authority, role: Role) -> Identity {
    let trusted = authority.certificate();
    authority.issue(role, unix_seconds(), DAY, trusted).unwrap()
}

fn link(role: Role, identity: &Identity) -> LinkTls {
    let tls = LinkTls::new(role, &Metrics::new());
    tls.take(identity).unwrap();
    tls
}

/// A worker that sends back what it is sent.
struct Echo {
    at: SocketAddr,
    metrics: Metrics,
}

impl Echo {
    async fn start(tls: &LinkTls) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (at, metrics) = (listener.local_addr().unwrap(), Metrics::new());
        let mut incoming = Box::pin(incoming(listener, tls.clone(), &metrics));
        tokio::spawn(async move {
            while let Some(guest) = incoming.next().await {
                let (_, stream) = guest.unwrap();
                let (mut read, mut write) = tokio::io::split(stream);
                tokio::spawn(async move { tokio::io::copy(&mut read, &mut write).await });
            }
        });
        Self { at, metrics }
    }

    /// Who connects so is let in and served.
    async fn serves(&self, tls: &LinkTls) {
        let mut stream = tls.connect(&self.at.to_string()).await.unwrap();
        assert_echoes(&mut stream).await;
    }

    async fn refuses(&self, tls: &LinkTls, why: &str) {
        let refused = timeout(SOON, tls.connect(&self.at.to_string()))
            .await
            .unwrap();
        let Err(error) = refused else {
            panic!("it is not refused");
        };
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }

    async fn counted(&self, reason: &str) {
        counted(&self.metrics, reason).await;
    }
}

async fn counted(metrics: &Metrics, reason: &str) {
    let line = format!("hexagram_worker_links_refused_total{{reason=\"{reason}\"}} 1\n");
    let counted = async {
        while !metrics.encode().contains(&line) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, counted).await.expect(reason);
}

async fn assert_echoes(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) {
    stream.write_all(b"hello").await.unwrap();
    stream.flush().await.unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello");
}

#[tokio::test]
async fn every_role_of_the_same_ca_is_let_in() {
    let ca = authority();
    let worker = Echo::start(&link(Role::Worker, &issued(&ca, Role::Worker))).await;
    for role in Role::ALL {
        worker.serves(&link(role, &issued(&ca, role))).await;
    }
}

#[tokio::test]
async fn who_comes_in_has_shown_his_role() {
    let ca = authority();
    let worker = link(Role::Worker, &issued(&ca, Role::Worker));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let mut incoming = Box::pin(incoming(listener, worker, &Metrics::new()));
    for role in Role::ALL {
        let tls = link(role, &issued(&ca, role));
        let (guest, connected) = tokio::join!(incoming.next(), tls.connect(&at));
        connected.unwrap();
        let (shown, _) = guest.unwrap().unwrap();
        assert_eq!(shown, role);
    }
}

#[tokio::test]
async fn who_has_another_ca_s_certificate_is_told_so_on_both_sides() {
    let (ours, theirs) = (authority(), authority());
    let worker = Echo::start(&link(Role::Worker, &issued(&ours, Role::Worker))).await;
    let stranger = issued(&theirs, Role::Edge);
    let why = "the worker's certificate is of a CA that is not in this process's ca.crt";
    worker.refuses(&link(Role::Edge, &stranger), why).await;
    worker.counted("distrusts").await;
    let trusts = Identity {
        ca: ours.certificate().to_owned(),
        ..stranger
    };
    let why = "its CA is not in the worker's ca.crt";
    worker.refuses(&link(Role::Edge, &trusts), why).await;
    worker.counted("foreign_ca").await;
}

#[tokio::test]
async fn an_edge_s_certificate_makes_no_worker() {
    let ca = authority();
    let edge = issued(&ca, Role::Edge);
    let rogue = Echo::start(&link(Role::Edge, &edge)).await;
    let worker = link(Role::Worker, &issued(&ca, Role::Worker));
    rogue
        .refuses(&worker, "what answers there is no worker")
        .await;
    let started = LinkTls::new(Role::Worker, &Metrics::new()).take(&edge);
    let error = started.unwrap_err();
    assert!(matches!(error, TlsError::OtherRole { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("the edges', and this process is a worker"),
        "{error}"
    );
    let worker = issued(&ca, Role::Worker);
    for (role, one) in [
        (Role::Edge, "is an edge:"),
        (Role::Controller, "is a controller:"),
    ] {
        let taken = LinkTls::new(role, &Metrics::new()).take(&worker);
        let error = taken.unwrap_err().to_string();
        assert!(error.contains(one), "{error}");
    }
}

#[tokio::test]
async fn what_has_ended_is_told_so() {
    let ca = authority();
    let worker = Echo::start(&link(Role::Worker, &issued(&ca, Role::Worker))).await;
    let long_ago = unix_seconds() - 3 * DAY.as_secs();
    let ended = |role| ca.issue(role, long_ago, DAY, ca.certificate()).unwrap();
    let edge = link(Role::Edge, &ended(Role::Edge));
    worker.refuses(&edge, "which has ended").await;
    worker.counted("ended").await;
    let old = Echo::start(&link(Role::Worker, &ended(Role::Worker))).await;
    let edge = link(Role::Edge, &issued(&ca, Role::Edge));
    old.refuses(&edge, "the worker's certificate has ended")
        .await;
}

#[tokio::test]
async fn who_shows_none_stays_out() {
    let ca = authority();
    let worker = Echo::start(&link(Role::Worker, &issued(&ca, Role::Worker))).await;
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(ca.certificate().as_bytes()).unwrap();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let tcp = TcpStream::connect(worker.at).await.unwrap();
    let name = ServerName::try_from(Role::Worker.name()).unwrap();
    let mut stream = connector.connect(name, tcp).await.unwrap();
    let error = stream.read_u8().await.unwrap_err().to_string();
    assert!(error.contains("CertificateRequired"), "{error}");
    worker.counted("no_certificate").await;
}

#[tokio::test]
async fn http2_without_tls_is_answered_in_http2() {
    let ca = authority();
    let worker = Echo::start(&link(Role::Worker, &issued(&ca, Role::Worker))).await;
    let mut tcp = TcpStream::connect(worker.at).await.unwrap();
    tcp.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let read = timeout(SOON, tcp.read_to_end(&mut answer)).await;
    read.expect("it is closed").unwrap();
    assert_eq!(answer.last(), Some(&0x0c), "INADEQUATE_SECURITY");
    drop(tcp);
    worker.counted("plain").await;
}

/// As tonic's server does: its SETTINGS come first.
#[tokio::test]
async fn a_worker_without_tls_is_told_of() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        tokio::io::copy(&mut tcp, &mut tokio::io::sink()).await
    });
    let edge = link(Role::Edge, &issued(&authority(), Role::Edge));
    let error = edge.connect(&at).await.unwrap_err().to_string();
    assert!(
        error.contains("speaks no TLS") && error.contains("--link-tls"),
        "{error}"
    );
}

#[tokio::test]
async fn who_speaks_tls_where_links_are_plain_is_counted_and_others_are_served() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, metrics) = (listener.local_addr().unwrap(), Metrics::new());
    let mut incoming = Box::pin(plain_incoming(listener, &metrics));
    tokio::spawn(async move {
        while let Some(guest) = incoming.next().await {
            let (mut read, mut write) = tokio::io::split(guest.unwrap());
            tokio::spawn(async move { tokio::io::copy(&mut read, &mut write).await });
        }
    });
    let mut plain = TcpStream::connect(at).await.unwrap();
    assert_echoes(&mut plain).await;
    assert!(!metrics.encode().contains("reason=\"tls\""));
    let edge = link(Role::Edge, &issued(&authority(), Role::Edge));
    let refused = timeout(SOON, edge.connect(&at.to_string())).await.unwrap();
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidData);
    counted(&metrics, "tls").await;
    assert_echoes(&mut plain).await;
}

/// By this a dead worker is known.
#[tokio::test]
async fn where_nobody_listens_tcp_s_own_word_stands() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    drop(listener);
    let edge = link(Role::Edge, &issued(&authority(), Role::Edge));
    let error = edge.connect(&at).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn who_is_slow_holds_up_nobody() {
    let ca = authority();
    let worker = Echo::start(&link(Role::Worker, &issued(&ca, Role::Worker))).await;
    let mut slow = Vec::new();
    for _ in 0..20 {
        slow.push(TcpStream::connect(worker.at).await.unwrap());
    }
    let edge = link(Role::Edge, &issued(&ca, Role::Edge));
    timeout(SOON, worker.serves(&edge))
        .await
        .expect("served meanwhile");
}

#[tokio::test]
async fn who_says_nothing_is_sent_away_soon() {
    let worker = Echo::start(&link(Role::Worker, &issued(&authority(), Role::Worker))).await;
    let mut silent = TcpStream::connect(worker.at).await.unwrap();
    let read = timeout(Duration::from_secs(3), silent.read_u8()).await;
    read.expect("it is closed").unwrap_err();
    worker.counted("silent").await;
}

/// Connections of these local addresses that begin a handshake and say no more.
async fn stalled(worker: &Echo, addresses: RangeInclusive<u8>, each: usize) -> Vec<TcpStream> {
    let mut all = Vec::new();
    for address in addresses {
        for _ in 0..each {
            let socket = TcpSocket::new_v4().unwrap();
            let from = SocketAddr::from(([127, 0, 0, address], 0));
            socket.bind(from).unwrap();
            let mut tcp = socket.connect(worker.at).await.unwrap();
            tcp.write_all(&[0x16]).await.unwrap();
            all.push(tcp);
        }
    }
    all
}

/// They could have all 256 places for as long as a handshake may take.
#[tokio::test]
async fn who_stalls_keeps_nobody_out() {
    let ca = authority();
    let worker = Echo::start(&link(Role::Worker, &issued(&ca, Role::Worker))).await;
    let edge = link(Role::Edge, &issued(&ca, Role::Edge));
    // At the edge's own address, and at five others.
    for (addresses, each) in [(1..=1, 300), (2..=6, 60)] {
        let others = stalled(&worker, addresses, each).await;
        let served = timeout(SOON, worker.serves(&edge)).await;
        served.expect("served meanwhile");
        drop(others);
    }
}

/// Accept-only first, then sign with the new one, then drop the old one: at no step is
/// anybody refused, and what is connected stays.
#[tokio::test]
async fn a_ca_is_exchanged_step_by_step() {
    let (old, new) = (authority(), authority());
    let both = [old.certificate(), new.certificate()].concat();
    let made =
        |ca: &Authority, role, trusted: &str| ca.issue(role, unix_seconds(), DAY, trusted).unwrap();
    let worker = link(Role::Worker, &issued(&old, Role::Worker));
    let edge = link(Role::Edge, &issued(&old, Role::Edge));
    let echo = Echo::start(&worker).await;
    let mut first = edge.connect(&echo.at.to_string()).await.unwrap();
    let steps = [
        (&old, both.as_str()),
        (&new, both.as_str()),
        (&new, new.certificate()),
    ];
    for (ca, trusted) in steps {
        // One of them comes later.
        worker.take(&made(ca, Role::Worker, trusted)).unwrap();
        echo.serves(&edge).await;
        edge.take(&made(ca, Role::Edge, trusted)).unwrap();
        echo.serves(&edge).await;
    }
    assert_echoes(&mut first).await;
    echo.refuses(&link(Role::Edge, &issued(&old, Role::Edge)), "CA")
        .await;
}

#[tokio::test]
async fn a_bad_identity_changes_nothing() {
    let ca = authority();
    let good = issued(&ca, Role::Edge);
    let edge = link(Role::Edge, &good);
    let worker = Echo::start(&link(Role::Worker, &issued(&ca, Role::Worker))).await;
    let other = issued(&ca, Role::Edge);
    let bad = [
        (
            Identity {
                key: other.key,
                ..good.clone()
            },
            "do not go together",
        ),
        (
            Identity {
                key: String::new(),
                ..good.clone()
            },
            "tls.key",
        ),
        (
            Identity {
                ca: "x".to_owned(),
                ..good.clone()
            },
            "ca.crt",
        ),
        (
            Identity {
                certificate: String::new(),
                ..good
            },
            "tls.crt",
        ),
    ];
    for (identity, why) in bad {
        let error = edge.take(&identity).unwrap_err().to_string();
        assert!(error.contains(why) && !error.contains("PRIVATE"), "{error}");
        worker.serves(&edge).await;
    }
}
