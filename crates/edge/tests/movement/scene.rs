//! An edge with two scripted workers and one shard, and its clients.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use hexagram_core::{
    Assignment, Capabilities, ClientId, Epoch, Incarnation, KeyRing, Principal, ProtocolVersion,
    Sealer, Serial, SessionClaims, SessionKey, ShardCount, ShardMap,
};
use hexagram_edge::{Directory, Edge, EdgeArgs, EdgeContext, LinkStatus, MapStatus};
use hexagram_runtime::clock::unix_seconds;
use hexagram_runtime::drain::DrainArgs;
use hexagram_runtime::health::Health;
use hexagram_runtime::metrics::Metrics;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::CLUSTER;
use crate::wait::{until, within};
use crate::worker::Worker;

const MODERN: &str = "2026-07-28";
/// The longest message that the edge takes.
pub(crate) const MAX_MESSAGE: usize = 4 << 20;
/// The epoch in which `worker-a` owns the shard at first.
pub(crate) const FIRST: u64 = 5;

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    edge: EdgeArgs,
    #[command(flatten)]
    drain: DrainArgs,
}

pub(crate) struct Scene {
    pub(crate) a: Worker,
    pub(crate) b: Worker,
    directory: watch::Sender<Arc<Directory>>,
    status: Box<dyn Fn() -> MapStatus>,
    links: Box<dyn Fn() -> Vec<LinkStatus>>,
    metrics: Metrics,
    sealer: Arc<Sealer>,
    address: SocketAddr,
    end: CancellationToken,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// An answer as its client has it.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Reply {
    /// Hexagram's own word for a refusal.
    pub(crate) fn reason(&self) -> &str {
        self.body["error"]["data"]["reason"].as_str().unwrap()
    }
}

impl Scene {
    /// Both workers are linked; the directory says that `worker-a` owns the shard.
    pub(crate) async fn start() -> Self {
        let (a, b) = (
            Worker::start("worker-a", FIRST),
            Worker::start("worker-b", 0),
        );
        let first = directory(&a, &b, 1, "worker-a", FIRST);
        let (directory, follow) = watch::channel(Arc::new(first));
        let sealer = Arc::new(Sealer::new(&KeyRing::generate(1, [7; 32]), CLUSTER));
        let metrics = Metrics::new();
        let max = format!("--max-message={MAX_MESSAGE}");
        let args = Args::parse_from(["edge", "--listen=127.0.0.1:0", &max]);
        let context = EdgeContext {
            cluster: CLUSTER.to_owned(),
            name: "edge-0".to_owned(),
            incarnation: Incarnation::new(2).unwrap(),
            shards: shards(),
            sealer: Arc::clone(&sealer),
            session_lifetime: Duration::from_secs(3600),
            link_version: hexagram_proto::LINK_VERSION_MAX,
            directory: follow,
            health: Health::new(),
            metrics: metrics.clone(),
            drain: args.drain,
            alone: true,
        };
        let edge = Edge::bind(args.edge, context).await.unwrap();
        let (address, status) = (edge.local_addr().unwrap(), edge.map_status());
        let links = Box::new(edge.link_status());
        let end = CancellationToken::new();
        tokio::spawn(edge.run(end.clone()));
        let mut scene = Self {
            a,
            b,
            directory,
            status: Box::new(status),
            links,
            metrics,
            sealer,
            address,
            end,
        };
        scene.a.linked().await;
        scene.b.linked().await;
        scene
    }

    /// Publishes a map.
    pub(crate) async fn publish(&self, version: u64, owner: &str, epoch: u64) {
        let next = directory(&self.a, &self.b, version, owner, epoch);
        self.directory.send(Arc::new(next)).unwrap();
        until("the edge has the map", || {
            (self.status)().map_version == version
        })
        .await;
    }

    /// Publishes a map by which nobody is to serve the shard.
    pub(crate) async fn quarantine(&self, version: u64, epoch: u64) {
        let mut next = directory(&self.a, &self.b, version, "worker-a", epoch);
        let withheld = Assignment {
            quarantined: true,
            ..next.map.assignment(shards().iter().next().unwrap()).clone()
        };
        next.map = ShardMap::new(version, shards(), vec![withheld]).unwrap();
        self.directory.send(Arc::new(next)).unwrap();
        until("the edge has the map", || {
            (self.status)().shards[0].quarantined
        })
        .await;
    }

    /// Owner, epoch and whether the shard is moving, as the edge knows it.
    pub(crate) fn route(&self) -> (String, u64, bool) {
        let shard = (self.status)().shards.remove(0);
        (shard.owner, shard.epoch.unwrap(), shard.moving)
    }

    pub(crate) async fn until_route(&self, owner: &str, epoch: u64, moving: bool) {
        let want = (owner.to_owned(), epoch, moving);
        until(format!("the route is {want:?}"), || self.route() == want).await;
    }

    /// What keeps the link to a worker down.
    pub(crate) fn trouble(&self, worker: &str) -> Option<String> {
        let links = (self.links)().into_iter();
        let mut links = links.filter(|link| link.worker == worker);
        links.next().unwrap().trouble
    }

    /// A metric's value.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.encode();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().parse().unwrap()
    }

    pub(crate) async fn until_parked(&self, count: u64) {
        let parked = || self.metric("hexagram_edge_parked ") == count;
        until(format!("{count} parked"), parked).await;
    }

    /// Sends a modern request on a connection of its own.
    pub(crate) fn ask(&self, method: &str, params: &Value) -> JoinHandle<Reply> {
        self.asked(self.modern(method, params))
    }

    fn asked(&self, request: Asked) -> JoinHandle<Reply> {
        let address = self.address;
        tokio::spawn(async move {
            let (parts, body) = send(address, request).await.into_parts();
            let body = within("a body", body.collect()).await.unwrap().to_bytes();
            Reply {
                status: parts.status.as_u16(),
                body: serde_json::from_slice(&body).unwrap(),
            }
        })
    }

    /// Sends a modern request whose reply is a stream of events.
    pub(crate) fn call(&self, method: &str, params: &Value) -> JoinHandle<Events> {
        self.events(self.modern(method, params))
    }

    /// Posts messages of a legacy session, whose reply is a stream of events.
    pub(crate) fn post(&self, version: ProtocolVersion, body: &Value) -> JoinHandle<Events> {
        self.events(self.legacy(version, body))
    }

    /// Posts messages of a legacy session.
    pub(crate) fn tell(&self, version: ProtocolVersion, body: &Value) -> JoinHandle<Reply> {
        self.asked(self.legacy(version, body))
    }

    fn legacy(&self, version: ProtocolVersion, body: &Value) -> Asked {
        let request = http::Request::post("/mcp")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-session-id", self.session(version));
        request.body(body.to_string().into()).unwrap()
    }

    /// Listens in the modern era; the reply has not begun yet.
    pub(crate) fn listen(&self) -> JoinHandle<Events> {
        let request = self.modern("subscriptions/listen", &json!({"notifications": {}}));
        self.events(request)
    }

    /// Opens a legacy session's standing stream.
    pub(crate) fn get(&self, after: Option<&str>) -> JoinHandle<Events> {
        let mut request = http::Request::get("/mcp")
            .header("host", "localhost")
            .header("accept", "text/event-stream")
            .header("mcp-session-id", self.session(ProtocolVersion::V2025_06_18));
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        self.events(request.body(Full::default()).unwrap())
    }

    fn events(&self, request: Asked) -> JoinHandle<Events> {
        let address = self.address;
        tokio::spawn(async move {
            let reply = send(address, request).await;
            assert_eq!(reply.status(), 200);
            Events(reply.into_body())
        })
    }

    fn modern(&self, method: &str, params: &Value) -> Asked {
        let mut params = params.clone();
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let mut request = http::Request::post("/mcp")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", MODERN)
            .header("mcp-method", method);
        if let Some(name) = params["name"].as_str() {
            request = request.header("mcp-name", name);
        }
        request.body(body.to_string().into()).unwrap()
    }

    fn session(&self, version: ProtocolVersion) -> String {
        let claims = SessionClaims {
            client: ClientId::from_u128(1),
            principal: Principal::anonymous().id(),
            key: SessionKey {
                epoch: Epoch::FIRST,
                serial: Serial::new(1),
            },
            created: unix_seconds(),
            version,
            capabilities: Capabilities::from_bits(0),
            client_name: "test".to_owned(),
            client_version: "1".to_owned(),
            has_record: false,
        };
        self.sealer.seal_session([3; 24], &claims)
    }
}

fn shards() -> ShardCount {
    ShardCount::try_from(1).unwrap()
}

fn directory(a: &Worker, b: &Worker, version: u64, owner: &str, epoch: u64) -> Directory {
    let owner = Assignment {
        owner: owner.parse().unwrap(),
        epoch: Epoch::new(epoch),
        quarantined: false,
    };
    let workers = [("worker-a", a), ("worker-b", b)];
    let workers = workers.map(|(name, worker)| (name.parse().unwrap(), worker.address.clone()));
    Directory {
        map: ShardMap::new(version, shards(), vec![owner]).unwrap(),
        workers: HashMap::from(workers),
    }
}

type Asked = http::Request<Full<Bytes>>;

async fn send(address: SocketAddr, request: Asked) -> http::Response<Incoming> {
    let stream = within("a connection", TcpStream::connect(address))
        .await
        .unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    within("a reply", sender.send_request(request))
        .await
        .unwrap()
}

/// A stream of events at its client.
pub(crate) struct Events(Incoming);

impl Events {
    /// The next part of the stream; `None` at its end.
    pub(crate) async fn next(&mut self) -> Option<String> {
        let frame = within("an event", self.0.frame()).await?;
        let data = frame.unwrap().into_data().unwrap();
        Some(String::from_utf8(data.to_vec()).unwrap())
    }
}
