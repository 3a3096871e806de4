//! A shard that moves between two workers, as its edges and its clients see it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "the edge is shared with other tests")]

mod edge;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hexagram_core::{Entry, Epoch, Incarnation, Owner, RegisterMap, ShardCount, ShardId, shard_of};
use hexagram_proto::WorkerAddress;
use hexagram_proto::handoff::handoff_client::HandoffClient;
use hexagram_proto::handoff::{GrantPart, Move};
use hexagram_proto::link::worker_message::Kind;
use hexagram_proto::link::{ExchangeKind, Open};
use hexagram_worker::{Kept, Membership, Upstream, handler};
use rmcp::model::{CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::json;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};

use edge::{CLUSTER, EPOCH, Edge, Place, Served, Session, answer, exchange_of, worker_at};

const NAMES: [&str; 2] = ["worker-0", "worker-1"];

/// Counts its calls in each session, and waits where it is told to.
#[derive(Default)]
struct Counter(AtomicU64);

impl ServerHandler for Counter {
    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if request.name == "wait" {
            context.ct.cancelled().await;
        }
        let count = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(CallToolResult::success(vec![ContentBlock::text(count.to_string())]).into())
    }
}

/// Two workers, a register and a way for the test to change it.
struct Cluster {
    workers: Vec<Served>,
    pipes: Vec<mpsc::Sender<DuplexStream>>,
    register: watch::Sender<Option<Arc<RegisterMap>>>,
}

fn owner(number: usize) -> Owner {
    Owner {
        worker: NAMES[number].parse().unwrap(),
        incarnation: Incarnation::new(1).unwrap(),
    }
}

fn epoch(number: u64) -> Epoch {
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

impl Cluster {
    fn start() -> Self {
        let (register, kept) = (watch::Sender::new(Some(Arc::new(first_map()))), Kept::new());
        let (pipes, places): (Vec<_>, Vec<_>) = NAMES.iter().map(|_| mpsc::channel(1)).unzip();
        let ways = pipes.clone();
        let dial = Arc::new(move |address: &str| {
            let number = NAMES.iter().position(|name| *name == address).unwrap();
            WorkerAddress::Pipe(ways[number].clone())
        });
        let workers = places.into_iter().enumerate().map(|(number, place)| {
            let membership = Membership {
                register: register.subscribe(),
                dial: dial.clone(),
                hands_over: true,
            };
            let place = Place {
                name: NAMES[number],
                membership: Some(membership),
                kept: kept.clone(),
                pipe: pipes[number].clone(),
                pipes: place,
            };
            let counter = handler(Counter::default);
            worker_at(
                place,
                Arc::new(Upstream::from_handler("counter".parse().unwrap(), counter)),
            )
        });
        Self {
            workers: workers.collect(),
            pipes,
            register,
        }
    }

    fn change(&self, change: impl FnOnce(&RegisterMap) -> RegisterMap) {
        self.register.send_modify(|map| {
            let changed = change(map.as_ref().unwrap());
            *map = Some(Arc::new(changed));
        });
    }

    /// What a controller writes when it plans a move.
    fn plan(&self, shard: ShardId, to: usize) {
        self.change(|map| map.change(shard, |entry| entry.move_to(owner(to))).unwrap());
    }

    /// What it writes once the taker serves.
    fn commit(&self, shard: ShardId, by: usize, number: u64) {
        let committed = |entry: &Entry<Owner>| entry.commit(&owner(by), epoch(number));
        self.change(|map| map.change(shard, committed).unwrap());
    }

    fn fail_over(&self, shard: ShardId, to: usize) {
        self.change(|map| {
            map.change(shard, |entry| entry.fail_over(owner(to)))
                .unwrap()
        });
    }

    async fn edge(&self, worker: usize) -> Edge {
        Edge::connect(&self.workers[worker]).await
    }

    async fn handoff(&self, worker: usize) -> HandoffClient<tonic::transport::Channel> {
        let address = WorkerAddress::Pipe(self.pipes[worker].clone());
        HandoffClient::new(address.dial().await.unwrap())
    }
}

fn shard(session: &Session) -> ShardId {
    shard_of(session.claims.client, ShardCount::default())
}

fn call(tool: &str, id: u64) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool}})
        .to_string()
}

/// A message under the epoch that a move has given.
fn moved(edge: &Edge, session: &Session, body: &str) -> Open {
    Open {
        epoch: EPOCH + 1,
        ..edge.open(session, body)
    }
}

fn count(kind: Kind) -> String {
    let text = &answer(kind)["result"]["content"][0]["text"];
    text.as_str().unwrap_or_default().to_owned()
}

/// Waits until a worker says that it serves the shard.
async fn active(edge: &mut Edge, shard: ShardId) -> u64 {
    loop {
        if let Kind::Active(active) = edge.receive().await
            && active.shard == u32::from(shard.get())
        {
            return active.epoch;
        }
    }
}

/// Sends until the worker serves: it follows the register in its own time.
async fn served(edge: &mut Edge, session: &Session, body: &str) -> Kind {
    for _ in 0..100 {
        match edge.ask(session, body).await {
            Kind::Misdirected(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            kind => return kind,
        }
    }
    panic!("the shard is not served");
}

/// Cancels the call that [`waiting`] has begun.
const CANCEL: &str =
    r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}"#;

/// Begins a call that ends only when it is cancelled; gives its exchange.
async fn waiting(edge: &mut Edge, session: &Session) -> u64 {
    served(edge, session, &call("count", 1)).await;
    let waiting = edge.post(edge.open(session, &call("wait", 2))).await;
    // It is under way once another call of the session was answered.
    served(edge, session, &call("count", 3)).await;
    waiting
}

/// Waits for the end of an exchange.
async fn over(edge: &mut Edge, exchange: u64) {
    loop {
        let kind = edge.receive().await;
        if exchange_of(&kind) == exchange && matches!(kind, Kind::End(_) | Kind::Event(_)) {
            return;
        }
    }
}

async fn session(edge: &mut Edge) -> Session {
    edge.session().await
}

#[tokio::test]
async fn a_session_goes_on_at_the_new_owner() {
    let cluster = Cluster::start();
    let (mut old, mut new) = (cluster.edge(0).await, cluster.edge(1).await);
    let session = session(&mut old).await;
    assert_eq!(
        count(served(&mut old, &session, &call("count", 1)).await),
        "1"
    );
    cluster.plan(shard(&session), 1);
    assert_eq!(active(&mut new, shard(&session)).await, EPOCH + 1);
    let open = moved(&new, &session, &call("count", 2));
    assert_eq!(
        count(new.send(open).await),
        "2",
        "the handler's state came along"
    );
}

#[tokio::test]
async fn the_old_owner_names_the_new_one() {
    let cluster = Cluster::start();
    let (mut old, mut new) = (cluster.edge(0).await, cluster.edge(1).await);
    let session = session(&mut old).await;
    cluster.plan(shard(&session), 1);
    active(&mut new, shard(&session)).await;
    let redirect = loop {
        // Between grant and its acknowledgement the shard still counts as moving.
        match old.ask(&session, &call("count", 1)).await {
            Kind::Misdirected(redirect) if redirect.moving => tokio::task::yield_now().await,
            Kind::Misdirected(redirect) => break redirect,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        (redirect.to.as_str(), redirect.epoch),
        (NAMES[1], EPOCH + 1)
    );
}

#[tokio::test]
async fn a_worker_leaves_once_the_register_names_others() {
    let cluster = Cluster::start();
    let (mut old, mut new) = (cluster.edge(0).await, cluster.edge(1).await);
    let session = session(&mut old).await;
    let all = || ShardCount::default().iter();
    all().for_each(|shard| cluster.plan(shard, 1));
    cluster.workers[0].shutdown.cancel();
    let mut taken = 0;
    while taken < all().count() {
        taken += usize::from(matches!(new.receive().await, Kind::Active(_)));
    }
    // All is given. What the worker does about it, it has done after some answers.
    for exchange in 0..20 {
        let ask = old.open(&session, &call("count", exchange));
        let number = old.post(ask).await;
        loop {
            let kind = old.receive().await;
            assert!(!matches!(kind, Kind::Leaving(_)), "it leaves too early");
            if exchange_of(&kind) == number {
                break;
            }
        }
    }
    all().for_each(|shard| cluster.commit(shard, 1, EPOCH + 1));
    old.told_to_leave().await;
}

#[tokio::test]
async fn a_call_ends_where_it_began_and_is_cancelled_from_the_new_owner() {
    let cluster = Cluster::start();
    let (mut old, mut new) = (cluster.edge(0).await, cluster.edge(1).await);
    let session = session(&mut old).await;
    let waiting = waiting(&mut old, &session).await;
    cluster.plan(shard(&session), 1);
    active(&mut new, shard(&session)).await;
    new.send(moved(&new, &session, CANCEL)).await;
    over(&mut old, waiting).await;
}

#[tokio::test]
async fn a_call_is_reached_across_two_moves() {
    let cluster = Cluster::start();
    let (mut old, mut new) = (cluster.edge(0).await, cluster.edge(1).await);
    let session = session(&mut old).await;
    let waiting = waiting(&mut old, &session).await;
    cluster.plan(shard(&session), 1);
    active(&mut new, shard(&session)).await;
    cluster.commit(shard(&session), 1, EPOCH + 1);
    cluster.plan(shard(&session), 0);
    assert_eq!(active(&mut old, shard(&session)).await, EPOCH + 2);
    let cancel = Open {
        epoch: EPOCH + 2,
        ..old.open(&session, CANCEL)
    };
    old.post(cancel).await;
    over(&mut old, waiting).await;
}

#[tokio::test]
async fn a_deleted_session_stays_deleted_and_the_others_live() {
    let cluster = Cluster::start();
    let (mut old, mut new) = (cluster.edge(0).await, cluster.edge(1).await);
    let session = session(&mut old).await;
    let delete = Open {
        kind: ExchangeKind::Delete.into(),
        ..old.open(&session, "")
    };
    cluster.plan(shard(&session), 1);
    active(&mut new, shard(&session)).await;
    let alive = new.send(moved(&new, &session, &call("count", 1))).await;
    assert_eq!(count(alive), "1", "an untouched session is known by its id");
    let delete = Open {
        epoch: EPOCH + 1,
        ..delete
    };
    assert!(matches!(new.send(delete).await, Kind::End(_)));
    cluster.commit(shard(&session), 1, EPOCH + 1);
    cluster.plan(shard(&session), 0);
    assert_eq!(active(&mut old, shard(&session)).await, EPOCH + 2);
    let open = Open {
        epoch: EPOCH + 2,
        ..old.open(&session, &call("count", 2))
    };
    match old.send(open).await {
        Kind::Event(event) => assert_eq!(event.head.unwrap().status, 404),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_standing_stream_is_to_go_on_at_the_new_owner() {
    let cluster = Cluster::start();
    let (mut old, mut new) = (cluster.edge(0).await, cluster.edge(1).await);
    let session = session(&mut old).await;
    served(&mut old, &session, &call("count", 1)).await;
    let listen = |edge: &Edge| Open {
        kind: ExchangeKind::Stream.into(),
        ..edge.open(&session, "")
    };
    let number = old.post(listen(&old)).await;
    let position = loop {
        if let Kind::Start(start) = old.receive().await {
            break start.event_id;
        }
    };
    cluster.plan(shard(&session), 1);
    active(&mut new, shard(&session)).await;
    while !matches!(old.receive().await, Kind::Reattach(it) if it.exchange == number) {}
    let again = Open {
        epoch: EPOCH + 1,
        reattach: true,
        last_event_id: position.clone(),
        ..listen(&new)
    };
    match new.send(again).await {
        Kind::Start(start) => assert_eq!(start.event_id, position, "the same stream goes on"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_move_to_a_worker_that_is_not_there_changes_nothing() {
    let cluster = Cluster::start();
    let mut old = cluster.edge(0).await;
    let session = session(&mut old).await;
    served(&mut old, &session, &call("count", 1)).await;
    // The register promises an address at which nobody is.
    cluster.change(|map| map.with_addresses(BTreeMap::new()));
    cluster.plan(shard(&session), 1);
    assert_eq!(
        count(served(&mut old, &session, &call("count", 2)).await),
        "2"
    );
}

#[tokio::test]
async fn an_owner_without_a_giver_knows_no_old_session() {
    let cluster = Cluster::start();
    let (mut old, mut new) = (cluster.edge(0).await, cluster.edge(1).await);
    let session = session(&mut old).await;
    cluster.fail_over(shard(&session), 1);
    active(&mut new, shard(&session)).await;
    match new.send(moved(&new, &session, &call("count", 1))).await {
        Kind::Event(event) => assert_eq!(event.head.unwrap().status, 404),
        other => panic!("{other:?}"),
    }
}

fn forged(shard: u32) -> Move {
    Move {
        cluster: CLUSTER.to_owned(),
        shards: 64,
        shard,
        epoch: EPOCH + 1,
        from: NAMES[0].to_owned(),
        from_incarnation: 1,
        to: NAMES[1].to_owned(),
        to_incarnation: 1,
        state_format: 1,
    }
}

#[tokio::test]
async fn a_forged_move_is_refused_with_the_reason() {
    let cluster = Cluster::start();
    let mut worker = cluster.handoff(1).await;
    let changed = |change: fn(&mut Move)| {
        let mut named = forged(3);
        change(&mut named);
        named
    };
    let cases = [
        (
            changed(|named| named.cluster = "other".to_owned()),
            "cluster",
        ),
        (changed(|named| named.shards = 32), "64 shards"),
        (changed(|named| named.to_incarnation = 9), "worker-1/"),
        (changed(|named| named.state_format = 9), "format 1"),
        (changed(|named| named.shard = 64), "malformed"),
        (forged(3), "expects no such grant"),
    ];
    for (named, reason) in cases {
        let part = GrantPart {
            r#move: Some(named),
            state: Bytes::new(),
        };
        let refused = worker
            .grant(futures_util::stream::iter([part]))
            .await
            .unwrap_err();
        assert!(refused.message().contains(reason), "{refused}");
    }
    let refused = worker.prepare(forged(3)).await.unwrap_err();
    assert!(refused.message().contains("no such move"), "{refused}");
}
