//! A worker that is stopped for over a second, as by SIGSTOP, while its edge goes on
//! sending: what it finds when it goes on is not its own to answer until it knows.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "edge and pair are shared with other tests")]

mod edge;
mod pair;

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use hexagram_core::ShardId;
use hexagram_proto::link::worker_message::Kind;
use hexagram_store::{Claim, ClaimMode, Claimed, MemoryStore, Store};
use tokio::runtime::{Builder, Handle};
use tokio::time::Instant;

use edge::{EPOCH, Edge, Session, answer, exchange_of};
use pair::{Cluster, NAMES, Reads, call, count, epoch, owner, served, shard};

/// Longer than a worker may be silent without a doubt.
const STOP: Duration = Duration::from_millis(1_200);

/// A thread of its own, in which the workers live: it is stopped with all that is theirs.
struct Process(Handle);

impl Process {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        Self(handle)
    }

    /// Does not run any more, until what is given is dropped.
    async fn stop(&self) -> mpsc::SyncSender<()> {
        let (go_on, stopped) = mpsc::sync_channel::<()>(0);
        let (is_stopped, has_stopped) = tokio::sync::oneshot::channel();
        self.0.spawn(async move {
            is_stopped.send(()).unwrap();
            // Ends once nobody is left who could send.
            let _ = stopped.recv();
        });
        has_stopped.await.unwrap();
        go_on
    }
}

/// A session at the first worker, in a process that can be stopped.
struct Scene {
    process: Process,
    cluster: Cluster,
    edge: Edge,
    session: Session,
    /// What came for other exchanges while one was waited for.
    besides: Vec<Kind>,
}

impl Scene {
    async fn with(store: Option<&MemoryStore>) -> Self {
        let process = Process::start();
        let cluster = {
            let _inside = process.0.enter();
            Cluster::with(store)
        };
        let mut edge = cluster.edge(0).await;
        let session = edge.session().await;
        let counted = served(&mut edge, &session, &call("count", 1)).await;
        assert_eq!(count(counted), "1");
        Self {
            process,
            cluster,
            edge,
            session,
            besides: Vec::new(),
        }
    }

    fn shard(&self) -> ShardId {
        shard(&self.session)
    }

    /// What a message is answered that came while the worker was stopped; and after how
    /// long.
    async fn ask_while_stopped(&mut self) -> (Kind, Duration) {
        let go_on = self.process.stop().await;
        self.ask_before(go_on).await
    }

    async fn ask_before(&mut self, go_on: mpsc::SyncSender<()>) -> (Kind, Duration) {
        let ask = self.edge.open(&self.session, &call("count", 2));
        let number = self.edge.post(ask).await;
        tokio::time::sleep(STOP).await;
        drop(go_on);
        let begun = Instant::now();
        loop {
            let kind = self.edge.receive().await;
            if exchange_of(&kind) == number {
                return (kind, begun.elapsed());
            }
            self.besides.push(kind);
        }
    }

    /// Another worker owns the shard, and this one has not heard of it.
    fn is_lost_unheard(&self) {
        let map = self.cluster.register.borrow().clone().unwrap();
        let newer = map.change(self.shard(), |entry| entry.fail_over(owner(1)));
        self.cluster
            .reads
            .send_replace(Reads::Newer(Arc::new(newer.unwrap())));
    }
}

#[tokio::test]
async fn what_another_owns_by_now_is_not_answered() {
    let mut scene = Scene::with(None).await;
    scene.is_lost_unheard();
    match scene.ask_while_stopped().await.0 {
        Kind::Misdirected(away) => {
            assert_eq!((&*away.to, away.epoch), (NAMES[1], EPOCH + 1));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_still_owned_is_answered() {
    let mut scene = Scene::with(None).await;
    assert_eq!(count(scene.ask_while_stopped().await.0), "2");
}

#[tokio::test]
async fn a_call_that_ran_when_another_took_the_shard_is_of_unknown_outcome() {
    let mut scene = Scene::with(None).await;
    let waiting = scene.edge.open(&scene.session, &call("wait", 7));
    let waiting = scene.edge.post(waiting).await;
    // It is under way once another call of the session was answered.
    served(&mut scene.edge, &scene.session, &call("count", 8)).await;
    scene.is_lost_unheard();
    let (away, _) = scene.ask_while_stopped().await;
    assert!(matches!(away, Kind::Misdirected(_)), "{away:?}");
    let ended = loop {
        let before = scene.besides.pop();
        let kind = match before {
            Some(kind) => kind,
            None => scene.edge.receive().await,
        };
        if exchange_of(&kind) == waiting {
            break answer(kind);
        }
    };
    assert_eq!(ended["error"]["code"], -32012, "{ended}");
}

#[tokio::test]
async fn where_the_register_is_away_the_store_says_what_is_lost() {
    let store = MemoryStore::default();
    let mut scene = Scene::with(Some(&store)).await;
    scene.cluster.reads.send_replace(Reads::Nothing);
    let claim = Claim {
        shard: scene.shard(),
        epoch: epoch(EPOCH + 5),
        mode: ClaimMode::Keep,
    };
    let go_on = scene.process.stop().await;
    let claimed = store.claim(claim).await.unwrap();
    assert!(matches!(claimed, Claimed::Yours { .. }));
    let (away, _) = scene.ask_before(go_on).await;
    assert!(matches!(away, Kind::Misdirected(_)), "{away:?}");
}

#[tokio::test]
async fn where_nobody_says_what_is_owned_serving_goes_on() {
    let store = MemoryStore::default();
    for away in [None, Some(&store)] {
        let mut scene = Scene::with(away).await;
        store.set_down(true);
        scene.cluster.reads.send_replace(Reads::Nothing);
        let (answer, took) = scene.ask_while_stopped().await;
        assert_eq!(count(answer), "2");
        assert!(took > Duration::from_millis(900), "not asked: {took:?}");
        served(&mut scene.edge, &scene.session, &call("count", 3)).await;
        store.set_down(false);
    }
}
