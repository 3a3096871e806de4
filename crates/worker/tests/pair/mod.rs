//! Two workers and their register, in one process.

#![allow(
    deprecated,
    reason = "logging is, and clients use it for years to come"
)]

use std::collections::BTreeMap;
use std::future::{pending, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hexagram_core::{
    Entry, Epoch, Incarnation, Owner, RegisterMap, Setup, ShardCount, ShardId, shard_of,
};
use hexagram_proto::WorkerAddress;
use hexagram_proto::handoff::handoff_client::HandoffClient;
use hexagram_proto::link::Open;
use hexagram_proto::link::worker_message::Kind;
use hexagram_store::{MemoryStore, Store};
use hexagram_worker::{Kept, Membership, Peer, Portable, ReadMap, Upstream, portable_handler};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, LoggingLevel,
    LoggingMessageNotificationParam, ProgressNotificationParam,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::json;
use tokio::io::DuplexStream;
use tokio::sync::{Notify, mpsc, watch};
use tonic::transport::Channel;

use crate::edge::{EPOCH, Edge, Place, Served, Session, answer, worker_at};

pub(crate) const NAMES: [&str; 2] = ["worker-0", "worker-1"];

/// Counts its calls in each session, and waits where it is told to.
#[derive(Default)]
pub(crate) struct Counter {
    calls: AtomicU64,
    release: Notify,
}

impl ServerHandler for Counter {
    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        match &*request.name {
            "wait" => context.ct.cancelled().await,
            "say" => say(&context, "a word").await?,
            "shout" => say(&context, &"word ".repeat(80_000)).await?,
            "linger" => {
                say(&context, "a word").await?;
                self.release.notified().await;
            }
            "late" => {
                self.release.notified().await;
                progress(&context).await?;
                self.release.notified().await;
            }
            "release" => self.release.notify_one(),
            _ => {}
        }
        let count = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(CallToolResult::success(vec![ContentBlock::text(count.to_string())]).into())
    }
}

impl Portable for Counter {
    fn export(&self) -> Vec<u8> {
        self.calls.load(Ordering::Relaxed).to_be_bytes().to_vec()
    }

    fn import(&mut self, state: &[u8]) {
        if let Ok(state) = state.try_into() {
            self.calls = AtomicU64::new(u64::from_be_bytes(state));
        }
    }
}

/// Says something before the answer.
async fn say(context: &RequestContext<RoleServer>, what: &str) -> Result<(), ErrorData> {
    let logged = LoggingMessageNotificationParam::new(LoggingLevel::Info, json!(what));
    let said = context.peer.notify_logging_message(logged).await;
    said.map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

/// Says that it goes on, if it was asked to.
async fn progress(context: &RequestContext<RoleServer>) -> Result<(), ErrorData> {
    let token = context.meta.get_progress_token();
    let token = token.ok_or_else(|| ErrorData::invalid_params("no token", None))?;
    let progress = ProgressNotificationParam::new(token, 1.0);
    let said = context.peer.notify_progress(progress).await;
    said.map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

/// What a worker finds that reads the register anew.
#[derive(Clone)]
pub(crate) enum Reads {
    /// The map that it follows.
    AsFollowed,
    /// One that it has not heard of yet.
    Newer(Arc<RegisterMap>),
    /// No answer.
    Nothing,
}

/// Two workers, a register and a way for the test to change it.
pub(crate) struct Cluster {
    pub(crate) workers: Vec<Served>,
    pipes: Vec<mpsc::Sender<DuplexStream>>,
    pub(crate) reached: watch::Sender<bool>,
    pub(crate) reads: watch::Sender<Reads>,
    pub(crate) register: watch::Sender<Option<Arc<RegisterMap>>>,
}

pub(crate) fn owner(number: usize) -> Owner {
    Owner {
        worker: NAMES[number].parse().unwrap(),
        incarnation: Incarnation::new(1).unwrap(),
    }
}

pub(crate) fn epoch(number: u64) -> Epoch {
    Epoch::new(number).unwrap()
}

/// All shards at the first worker.
fn first_map() -> RegisterMap {
    let count = ShardCount::default();
    let entries = count.iter().map(|_| Entry::new(owner(0), epoch(EPOCH)));
    let addresses = NAMES.iter().enumerate();
    let addresses: BTreeMap<_, _> = addresses
        .map(|(n, name)| (owner(n), (*name).to_owned()))
        .collect();
    RegisterMap::new(1, count, entries.collect(), addresses).unwrap()
}

fn read(
    register: &watch::Sender<Option<Arc<RegisterMap>>>,
    reads: &watch::Sender<Reads>,
) -> ReadMap {
    let (register, reads) = (register.clone(), reads.clone());
    Arc::new(move || match &*reads.borrow() {
        Reads::AsFollowed => Box::pin(ready(register.borrow().clone())),
        Reads::Newer(map) => Box::pin(ready(Some(Arc::clone(map)))),
        Reads::Nothing => Box::pin(pending()),
    })
}

impl Cluster {
    pub(crate) fn start() -> Self {
        Self::with(None)
    }

    /// Workers that share nothing, as those of two processes.
    pub(crate) fn apart() -> Self {
        Self::of(None, Kept::new, None)
    }

    /// Workers to whom everybody has proved to be one of these.
    pub(crate) fn among(peer: Peer) -> Self {
        Self::of(None, Kept::new, Some(peer))
    }

    /// Workers that share a store.
    pub(crate) fn with(store: Option<&MemoryStore>) -> Self {
        let kept = Kept::new();
        Self::of(store, move || kept.clone(), None)
    }

    fn of(store: Option<&MemoryStore>, kept: impl Fn() -> Kept, peer: Option<Peer>) -> Self {
        let register = watch::Sender::new(Some(Arc::new(first_map())));
        let (pipes, places): (Vec<_>, Vec<_>) = NAMES.iter().map(|_| mpsc::channel(1)).unzip();
        let (ways, reached) = (pipes.clone(), watch::Sender::new(true));
        let reads = watch::Sender::new(Reads::AsFollowed);
        let dial = Arc::new(move |address: &str| {
            let number = NAMES.iter().position(|name| *name == address).unwrap();
            WorkerAddress::Pipe(ways[number].clone())
        });
        let workers = places.into_iter().enumerate().map(|(number, place)| {
            let membership = Membership {
                register: register.subscribe(),
                read: read(&register, &reads),
                reached: reached.subscribe(),
                dial: dial.clone(),
                hands_over: true,
                setup: Setup::default(),
            };
            let place = Place {
                name: NAMES[number],
                membership: Some(membership),
                kept: kept(),
                pipe: pipes[number].clone(),
                pipes: place,
                store: store.map(|store| Arc::new(store.clone()) as Arc<dyn Store>),
                peer,
            };
            let counter = portable_handler(Counter::default);
            worker_at(
                place,
                Arc::new(Upstream::from_handler("counter".parse().unwrap(), counter)),
            )
        });
        Self {
            workers: workers.collect(),
            pipes,
            reached,
            reads,
            register,
        }
    }

    pub(crate) fn change(&self, change: impl FnOnce(&RegisterMap) -> RegisterMap) {
        self.register.send_modify(|map| {
            let changed = change(map.as_ref().unwrap());
            *map = Some(Arc::new(changed));
        });
    }

    /// What a controller writes when it plans a move.
    pub(crate) fn plan(&self, shard: ShardId, to: usize) {
        self.change(|map| map.change(shard, |entry| entry.move_to(owner(to))).unwrap());
    }

    /// What it writes once the taker serves.
    pub(crate) fn commit(&self, shard: ShardId, by: usize, number: u64) {
        let committed = |entry: &Entry<Owner>| entry.commit(&owner(by), epoch(number));
        self.change(|map| map.change(shard, committed).unwrap());
    }

    pub(crate) fn fail_over(&self, shard: ShardId, to: usize) {
        self.change(|map| {
            map.change(shard, |entry| entry.fail_over(owner(to)))
                .unwrap()
        });
    }

    pub(crate) async fn edge(&self, worker: usize) -> Edge {
        Edge::connect(&self.workers[worker]).await
    }

    pub(crate) async fn channel(&self, worker: usize) -> Channel {
        let address = WorkerAddress::Pipe(self.pipes[worker].clone());
        address.dial().await.unwrap()
    }

    pub(crate) async fn handoff(&self, worker: usize) -> HandoffClient<Channel> {
        HandoffClient::new(self.channel(worker).await)
    }
}

pub(crate) fn shard(session: &Session) -> ShardId {
    shard_of(session.claims.client, ShardCount::default())
}

pub(crate) fn call(tool: &str, id: u64) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool}})
        .to_string()
}

/// A message under the epoch that a move has given.
pub(crate) fn moved(edge: &Edge, session: &Session, body: &str) -> Open {
    Open {
        epoch: EPOCH + 1,
        ..edge.open(session, body)
    }
}

pub(crate) fn count(kind: Kind) -> String {
    let text = &answer(kind)["result"]["content"][0]["text"];
    text.as_str().unwrap_or_default().to_owned()
}

/// Waits until a worker says that it serves the shard.
pub(crate) async fn active(edge: &mut Edge, shard: ShardId) -> u64 {
    loop {
        if let Kind::Active(active) = edge.receive().await
            && active.shard == u32::from(shard.get())
        {
            return active.epoch;
        }
    }
}

/// Sends until the worker serves: it follows the register in its own time.
pub(crate) async fn served(edge: &mut Edge, session: &Session, body: &str) -> Kind {
    for _ in 0..100 {
        match edge.ask(session, body).await {
            Kind::Misdirected(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            kind => return kind,
        }
    }
    panic!("the shard is not served");
}
