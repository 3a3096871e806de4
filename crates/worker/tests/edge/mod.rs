//! An edge reduced to its link: says hello, opens exchanges, grants credit.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use futures_util::StreamExt;
use hexagram_core::{
    ClientId, Epoch, Incarnation, KeyRing, Principal, Sealer, SessionClaims, ShardCount,
};
use hexagram_proto::link::link_client::LinkClient;
use hexagram_proto::link::worker_message::Kind;
use hexagram_proto::link::{
    Ceased, Credit, EdgeFrame, EdgeMessage, Event, Hello, Open, WorkerFrame, WorkerMessage,
    edge_message,
};
use hexagram_proto::{INITIAL_WINDOW, Outbox, frames, hello, outbox, session_message};
use hexagram_runtime::drain::DrainArgs;
use hexagram_runtime::metrics::Metrics;
use hexagram_store::Store;
use hexagram_worker::{
    Changes, Kept, Membership, Peer, Upstream, Worker, WorkerContext, WorkerMetrics,
};
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::transport::Endpoint;

const DEADLINE: Duration = Duration::from_secs(10);
pub(crate) const CLUSTER: &str = "test";
pub(crate) const EPOCH: u64 = 7;
/// Fingerprint of the static map.
const MAP: u64 = 64;

#[derive(Parser)]
struct Drain {
    #[command(flatten)]
    args: DrainArgs,
}

/// A worker, reached over in-memory pipes.
pub(crate) struct Served {
    name: &'static str,
    pipe: mpsc::Sender<DuplexStream>,
    pub(crate) shutdown: CancellationToken,
    sealer: Arc<Sealer>,
    pub(crate) metrics: Metrics,
}

/// Where a worker learns what it owns, and how it is reached.
pub(crate) struct Place {
    pub(crate) name: &'static str,
    pub(crate) membership: Option<Membership>,
    pub(crate) kept: Kept,
    pub(crate) pipe: mpsc::Sender<DuplexStream>,
    pub(crate) pipes: mpsc::Receiver<DuplexStream>,
    pub(crate) store: Option<Arc<dyn Store>>,
    /// Who has proved to be at the other end of each pipe, where anybody has to.
    pub(crate) peer: Option<Peer>,
}

/// A worker with all shards for ever.
pub(crate) fn worker(upstream: Arc<Upstream>) -> Served {
    let (pipe, pipes) = mpsc::channel(1);
    let place = Place {
        name: "worker-0",
        membership: None,
        kept: Kept::new(),
        pipe,
        pipes,
        store: None,
        peer: None,
    };
    worker_at(place, upstream)
}

pub(crate) fn worker_at(place: Place, upstream: Arc<Upstream>) -> Served {
    let shards = ShardCount::default();
    let sealer = Arc::new(Sealer::new(&KeyRing::generate(1, [7; 32]), CLUSTER));
    let epoch = Epoch::new(EPOCH).unwrap();
    let metrics = Metrics::new();
    let is_fixed = place.membership.is_none();
    let all = shards.iter().filter(|_| is_fixed);
    let context = WorkerContext {
        cluster: CLUSTER.to_owned(),
        name: place.name.parse().unwrap(),
        incarnation: Incarnation::new(1).unwrap(),
        shards,
        owned: all.map(|shard| (shard, epoch)).collect(),
        membership: place.membership,
        kept: place.kept,
        map_fingerprint: is_fixed.then_some(MAP),
        sealer: Arc::clone(&sealer),
        changes: Changes::new(),
        metrics: WorkerMetrics::register(&metrics),
        session_idle: Duration::from_secs(60),
        drain: Drain::parse_from(["test"]).args,
        store: place.store,
        session_lifetime: Duration::from_secs(3600),
        link_version: hexagram_proto::LINK_VERSION_MAX,
    };
    let worker = Worker::new(vec![upstream], context).unwrap();
    let shutdown = CancellationToken::new();
    match place.peer {
        Some(peer) => {
            let known = ReceiverStream::new(place.pipes);
            let known = known.map(move |pipe| Ok::<_, std::io::Error>((peer, pipe)));
            tokio::spawn(worker.serve_known(known, shutdown.clone()));
        }
        None => drop(tokio::spawn(
            worker.serve_pipes(place.pipes, shutdown.clone()),
        )),
    }
    Served {
        name: place.name,
        pipe: place.pipe,
        shutdown,
        sealer,
        metrics,
    }
}

/// What is wrong with a stranger's Hello.
pub(crate) enum Change {
    Cluster,
    Shards,
    Version,
    Keys,
    Map,
}

pub(crate) struct Session {
    pub(crate) claims: SessionClaims,
    pub(crate) epoch: u64,
}

pub(crate) struct Edge {
    outbox: Outbox<EdgeMessage>,
    frames: Streaming<WorkerFrame>,
    ready: Vec<WorkerMessage>,
    sealer: Arc<Sealer>,
    next: u64,
}

impl Edge {
    pub(crate) async fn connect(worker: &Served) -> Self {
        Self::try_connect(worker).await.unwrap()
    }

    /// Connects; gives the worker's refusal.
    pub(crate) async fn try_connect(worker: &Served) -> Result<Self, String> {
        Self::greet(worker, our_hello()).await
    }

    /// Connects with a Hello that does not fit; gives the worker's refusal.
    pub(crate) async fn connect_as(worker: &Served, change: Change) -> Result<Self, String> {
        let mut hello = our_hello();
        match change {
            Change::Cluster => hello.cluster = "other".to_owned(),
            Change::Shards => hello.shards = 32,
            Change::Keys => hello.key_fingerprints = vec![1],
            Change::Map => hello.map_fingerprint = Some(MAP + 1),
            Change::Version => (hello.link_version_min, hello.link_version_max) = (90, 91),
        }
        Self::greet(worker, hello).await
    }

    async fn greet(worker: &Served, hello: Hello) -> Result<Self, String> {
        let pipe = worker.pipe.clone();
        let connector = tower::service_fn(move |_| {
            let pipe = pipe.clone();
            async move {
                let (ours, theirs) = tokio::io::duplex(1 << 20);
                pipe.send(theirs).await.unwrap();
                Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(ours))
            }
        });
        let endpoint = Endpoint::from_static("http://pipe");
        let channel = endpoint.connect_with_connector(connector).await.unwrap();
        let (outbox, drained) = outbox();
        let frames = frames::<EdgeFrame>(hello, drained);
        let refused = |status: tonic::Status| status.message().to_owned();
        let mut frames = LinkClient::new(channel)
            .connect(frames)
            .await
            .map_err(refused)?
            .into_inner();
        let first = frames.message().await.map_err(refused)?.unwrap();
        assert_eq!(first.hello.unwrap().name, worker.name);
        Ok(Self {
            outbox,
            frames,
            ready: Vec::new(),
            sealer: Arc::clone(&worker.sealer),
            next: 1,
        })
    }

    /// Initializes a legacy session.
    pub(crate) async fn session(&mut self) -> Session {
        let client = ClientId::random(5);
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "edge", "version": "1"},
        });
        let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
        let open = self.exchange(client, Bytes::from(body.to_string()));
        let mut answer = self.send(open.clone()).await;
        for _ in 0..500 {
            // It follows the register, and reads its store, in its own time.
            if !matches!(answer, Kind::Misdirected(_)) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            answer = self.send(open.clone()).await;
        }
        match answer {
            Kind::Event(event) => {
                let id = event.head.unwrap().session_id;
                let claims = self.sealer.open_session(&id).unwrap();
                let epoch = claims.key.epoch.get();
                Session { claims, epoch }
            }
            other => panic!("{other:?}"),
        }
    }

    fn exchange(&self, client: ClientId, body: Bytes) -> Open {
        let shard = hexagram_core::shard_of(client, ShardCount::default());
        Open {
            shard: u32::from(shard.get()),
            epoch: EPOCH,
            attempt: 1,
            client: Some(client.as_u128().into()),
            principal: Some(Principal::anonymous().id().as_u128().into()),
            quota: Some(1.into()),
            version: u32::from(hexagram_core::ProtocolVersion::V2025_11_25.code()),
            credit: INITIAL_WINDOW,
            body,
            ..Open::default()
        }
    }

    /// A message of the session.
    pub(crate) fn open(&self, session: &Session, body: &str) -> Open {
        Open {
            session: Some(session_message(&session.claims)),
            ..self.exchange(
                session.claims.client,
                Bytes::copy_from_slice(body.as_bytes()),
            )
        }
    }

    pub(crate) async fn ask(&mut self, session: &Session, body: &str) -> Kind {
        let open = self.open(session, body);
        self.send(open).await
    }

    /// Sends an exchange without waiting; gives its number.
    pub(crate) async fn post(&mut self, open: Open) -> u64 {
        let exchange = self.next;
        self.next += 1;
        self.push(edge_message::Kind::Open(Open { exchange, ..open }));
        exchange
    }

    /// Sends an exchange and gives the first thing that comes back for it.
    pub(crate) async fn send(&mut self, open: Open) -> Kind {
        let number = self.post(open).await;
        loop {
            let kind = self.receive().await;
            if exchange_of(&kind) == number {
                return kind;
            }
        }
    }

    /// Waits for the end of an exchange that has begun.
    pub(crate) async fn ended(&mut self, number: u64) {
        loop {
            match self.receive().await {
                Kind::End(end) if end.exchange == number => return,
                _ => {}
            }
        }
    }

    /// The last message of an exchange.
    pub(crate) async fn last_event(&mut self, number: u64) -> Event {
        loop {
            match self.receive().await {
                Kind::Event(event) if event.exchange == number && event.last => return event,
                _ => {}
            }
        }
    }

    /// Where an exchange stood last when it ended.
    pub(crate) async fn last_position(&mut self, number: u64) -> String {
        let mut position = String::new();
        loop {
            match self.receive().await {
                Kind::Start(start) if start.exchange == number => position = start.event_id,
                Kind::End(end) if end.exchange == number => return position,
                _ => {}
            }
        }
    }

    /// Reads what comes for an exchange until nothing more does without credit.
    pub(crate) async fn unpaid(&mut self, number: u64) -> usize {
        let mut bytes = 0;
        // The window is used up once this much has come; whatever exceeds it
        // would come within the pause.
        while let Ok(kind) = tokio::time::timeout(Duration::from_millis(300), self.receive()).await
        {
            bytes += event_bytes(&kind, number);
        }
        bytes
    }

    /// Reads the rest of an exchange, paying for all of it.
    pub(crate) async fn paid(&mut self, exchange: u64) -> usize {
        let mut bytes = 0;
        let mut granted = INITIAL_WINDOW;
        loop {
            self.push(edge_message::Kind::Credit(Credit {
                exchange,
                bytes: granted,
            }));
            let kind = self.receive().await;
            granted = u32::try_from(event_bytes(&kind, exchange)).unwrap();
            bytes += granted as usize;
            if matches!(&kind, Kind::Event(event) if event.last && !event.more) {
                return bytes;
            }
        }
    }

    fn push(&self, kind: edge_message::Kind) {
        self.outbox.push(EdgeMessage { kind: Some(kind) }).unwrap();
    }

    pub(crate) async fn receive(&mut self) -> Kind {
        while self.ready.is_empty() {
            let frame = tokio::time::timeout(DEADLINE, self.frames.message()).await;
            let frame = frame.expect("an answer in time").unwrap().expect("a link");
            self.ready = frame.messages;
        }
        self.ready.remove(0).kind.unwrap()
    }

    /// Waits until the worker says that it leaves.
    pub(crate) async fn told_to_leave(&mut self) {
        while !matches!(self.receive().await, Kind::Leaving(_)) {}
    }

    /// Says that nothing more begins here.
    pub(crate) fn cease(&self) {
        self.push(edge_message::Kind::Ceased(Ceased {}));
    }
}

fn our_hello() -> Hello {
    hello(
        CLUSTER,
        "edge-0",
        ShardCount::default(),
        Incarnation::new(2).unwrap(),
        &[],
    )
}

pub(crate) fn exchange_of(kind: &Kind) -> u64 {
    match kind {
        Kind::Start(start) => start.exchange,
        Kind::Event(event) => event.exchange,
        Kind::End(end) => end.exchange,
        Kind::Misdirected(misdirected) => misdirected.exchange,
        Kind::Reattach(reattach) => reattach.exchange,
        Kind::Leaving(_) | Kind::Announce(_) | Kind::Active(_) | Kind::Resumed(_) => 0,
    }
}

fn event_bytes(kind: &Kind, exchange: u64) -> usize {
    match kind {
        Kind::Event(event) if event.exchange == exchange => event.data.len(),
        _ => 0,
    }
}

/// The JSON of a single-event answer.
pub(crate) fn answer(kind: Kind) -> Value {
    match kind {
        Kind::Event(event) => serde_json::from_slice(&event.data).unwrap(),
        other => panic!("{other:?}"),
    }
}
