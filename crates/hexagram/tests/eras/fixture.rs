//! An upstream over real HTTP that speaks the eras a test chooses, notes what
//! it is asked, and can be started again on its port.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use rmcp::model::ProtocolVersion;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::task::{JoinHandle, JoinSet, yield_now};
use tokio_util::sync::CancellationToken;

use crate::cluster::{ports, wait};
use crate::handler::Handler;

/// Changes that wait for a slow listener.
const QUEUE: usize = 1024;
/// Each takes a port of those that all tests share.
const STARTS: usize = 300;

/// The eras that an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoken {
    Legacy,
    Modern,
    Both,
}

impl Spoken {
    pub(crate) fn versions(self) -> &'static [ProtocolVersion] {
        let all = ProtocolVersion::KNOWN_VERSIONS;
        match self {
            Self::Legacy => ProtocolVersion::known_up_to(&ProtocolVersion::LATEST_WITH_INITIALIZE),
            Self::Modern => &all[all.len() - 1..],
            Self::Both => all,
        }
    }
}

/// What an upstream says that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Tools,
    Resource,
    /// It ends the subscriptions there are, in their own form.
    Over,
}

/// What all handlers of one upstream share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) changes: broadcast::Sender<Change>,
    seen: Mutex<Vec<String>>,
}

impl Shared {
    /// Notes something that the upstream was asked.
    pub(crate) fn note(&self, what: impl Into<String>) {
        self.seen.lock().push(what.into());
    }
}

/// The upstream; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Fixture {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Fixture {
    pub(crate) async fn start(spoken: Spoken) -> Self {
        let shared = Arc::new(Shared {
            changes: broadcast::Sender::new(QUEUE),
            seen: Mutex::default(),
        });
        let address = ports::free();
        let task = tokio::spawn(serve(listen(address).await, spoken, Arc::clone(&shared)));
        Self {
            address,
            shared,
            task,
        }
    }

    /// Ends all its connections and sessions and starts it again on its port;
    /// forgets what it has seen.
    pub(crate) async fn restart(&mut self, spoken: Spoken) {
        self.stop().await;
        self.shared.seen.lock().clear();
        let listener = listen(self.address).await;
        self.task = tokio::spawn(serve(listener, spoken, Arc::clone(&self.shared)));
    }

    /// Ends all its connections and sessions.
    pub(crate) async fn stop(&mut self) {
        self.task.abort();
        wait::until("the upstream's end", async || {
            self.task.is_finished().then_some(())
        })
        .await;
    }

    /// `--upstream` for it.
    pub(crate) fn argument(&self) -> String {
        self.named("up")
    }

    /// `--upstream` for it under another name.
    pub(crate) fn named(&self, name: &str) -> String {
        format!("--upstream={name}=http://{}/mcp", self.address)
    }

    /// Tells all who listen.
    pub(crate) fn announce(&self, change: Change) {
        // It may be that nobody listens yet.
        let _ = self.shared.changes.send(change);
    }

    /// How often it has noted this.
    pub(crate) fn count(&self, what: &str) -> usize {
        let seen = self.shared.seen.lock();
        seen.iter().filter(|noted| *noted == what).count()
    }

    /// Waits until it has noted this `count` times.
    pub(crate) async fn has_seen(&self, what: &str, count: usize) {
        let told = format!("{what:?} at the upstream, {count} times");
        wait::until(told, async || (self.count(what) >= count).then_some(())).await;
    }

    /// All that it has noted, once each.
    pub(crate) fn seen(&self) -> HashSet<String> {
        self.shared.seen.lock().iter().cloned().collect()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where it listened before, a process that another test just starts may have a
/// copy of that socket for a moment.
async fn listen(address: SocketAddr) -> TcpListener {
    wait::until(format!("the port of {address}"), async || {
        TcpListener::bind(address).await.ok()
    })
    .await
}

type Service = StreamableHttpService<Handler, LocalSessionManager>;

/// Dropped, it closes every connection.
async fn serve(listener: TcpListener, spoken: Spoken, shared: Arc<Shared>) {
    let service = Service::new(
        move || Ok(Handler::new(spoken, Arc::clone(&shared))),
        Arc::default(),
        StreamableHttpServerConfig::default(),
    );
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(converse(stream, service.clone()));
    }
}

async fn converse(stream: TcpStream, service: Service) {
    let service = TowerToHyperService::new(service);
    // A client that breaks off is a part of the tests.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

#[tokio::test]
async fn it_has_its_port_while_others_start_processes() {
    let over = CancellationToken::new();
    let others = [(); 2].map(|()| {
        let over = over.clone();
        std::thread::spawn(move || {
            while !over.is_cancelled() {
                Command::new("true").status().unwrap();
            }
        })
    });
    // They end also where the test fails.
    let end = over.drop_guard();
    for _ in 0..STARTS {
        Fixture::start(Spoken::Both).await;
        // The dropped one gives its port back.
        yield_now().await;
    }
    drop(end);
    for other in others {
        other.join().unwrap();
    }
}
