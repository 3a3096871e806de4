//! Workers that die while a session store holds what they knew: no session ends.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::cluster::Controlled;
use crate::cluster::mcp::{self, Session};
use crate::cluster::redis::Redis;
use crate::counter::Counter;
use crate::crashes::{LOST, ran_once, served_again};
use crate::figures;
use crate::load::{Call, Failure, Load};
use crate::planned::Streams;

const SHARDS: usize = 64;
/// How long the store is away.
const AWAY: Duration = Duration::from_secs(4);

struct Scene {
    counter: Counter,
    redis: Redis,
    cluster: Controlled,
}

impl Scene {
    async fn start() -> Self {
        let (counter, redis) = (Counter::start().await, Redis::start().await);
        let args = [counter.argument(), redis.argument()];
        let args = args.each_ref().map(String::as_str);
        let cluster = Controlled::start(2, 3, &args, &[]).await;
        redis.whole(SHARDS).await;
        Self {
            counter,
            redis,
            cluster,
        }
    }

    /// Ends a worker's process as a crash would, and waits until all are served.
    async fn kill(&mut self, worker: usize, load: &Load) -> Instant {
        let event = Instant::now();
        self.cluster.workers[worker].process.kill().await;
        served_again(load, event).await;
        event
    }

    /// Starts it again, and waits until it has shards.
    async fn revive(&mut self, worker: usize) {
        self.cluster.workers[worker].process.respawn();
        let name = format!("worker-{worker}");
        crate::cluster::wait::until("shards of a new life", async || {
            (self.cluster.count(&name).await > 0).then_some(())
        })
        .await;
    }
}

/// Only a call that ran where a worker died may have failed, and no session has.
fn no_session_lost(calls: &[Call]) {
    for (client, failure) in figures::failed(calls) {
        let is_call = matches!(failure, Failure::Error(LOST, _));
        assert!(is_call, "client {client}: {failure:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_worker_is_killed_in_turn() {
    let mut scene = Scene::start().await;
    let mut streams = Streams::open(&scene.cluster).await;
    let load = Load::start(&scene.cluster).await;
    let mut events = Vec::new();
    for worker in 0..scene.cluster.workers.len() {
        events.push(scene.kill(worker, &load).await);
        scene.revive(worker).await;
    }
    let calls = load.end().await;
    figures::print("kill -9 in turn, with a store", &calls);
    for event in events {
        let pause = figures::full_service(&calls, event);
        eprintln!("kill -9, with a store: full service after {pause:?}");
    }
    no_session_lost(&calls);
    ran_once(&scene.counter, &calls, streams.calls());
    streams.still_hear(&scene.counter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_is_stopped_and_comes_back_empty() {
    let mut scene = Scene::start().await;
    let load = Load::start(&scene.cluster).await;
    scene.redis.process.kill().await;
    let until = Instant::now() + AWAY;
    served_again(&load, Instant::now()).await;
    tokio::time::sleep_until(until).await;
    served_again(&load, until).await;
    scene.redis.process.respawn();
    scene.redis.ready().await;
    scene.redis.whole(SHARDS).await;
    scene.redis.wipe();
    scene.redis.whole(SHARDS).await;
    scene.kill(1, &load).await;
    let calls = load.end().await;
    figures::print("the store stopped and wiped, then kill -9", &calls);
    no_session_lost(&calls);
    ran_once(&scene.counter, &calls, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_workers_and_the_controller_are_killed_at_once() {
    let mut scene = Scene::start().await;
    let mut session = Session::open(scene.cluster.edges[0].listen).await;
    let mut ended = Session::open(scene.cluster.edges[1].listen).await;
    mcp::result(&session.call("count", &json!({})).await);
    assert_eq!(ended.delete().await.status, 200);
    let all = scene.cluster.workers.iter_mut();
    for server in all.chain([&mut scene.cluster.control]) {
        server.process.kill().await;
        server.process.respawn();
    }
    let answer = crate::cluster::wait::until("a session that goes on", async || {
        let reply = session.call("count", &json!({})).await;
        reply.response().get("result").is_some().then_some(reply)
    });
    let answer = answer.await;
    let text = mcp::result(&answer)["content"][0]["text"].to_string();
    assert!(
        text.ends_with(" 2\""),
        "its upstream session goes on: {text}"
    );
    let gone = ended.ask("ping", &json!({})).await;
    assert_eq!(gone.status, 404, "a deleted session is back");
}
