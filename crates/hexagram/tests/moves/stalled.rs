//! A worker that stands still for longer than it takes to be replaced, and then goes on.

use hexagram_sim::history::{Exchange, History, Outcome};
use rustix::process::Signal;
use std::time::Duration;
use tokio::time::sleep;

use crate::scene::{Scene, Who};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stands_still_answers_nothing_when_it_wakes() {
    let mut scene = Scene::stored().await;
    scene.load().await;
    let event = scene.fault();
    scene.process(Who::Worker(0)).signal(Signal::STOP);
    scene.served_since(event).await;
    let slept = scene.talk.now() - event;
    sleep(scene.size.away.saturating_sub(slept)).await;
    let woken = scene.talk.now();
    scene.process(Who::Worker(0)).signal(Signal::CONT);
    scene.served_since(woken).await;
    scene.has_shards(0).await;
    let history = scene.finish("SIGSTOP of a worker, then SIGCONT").await;
    for one in &history.exchanges {
        let may_be = [Outcome::Unknown, Outcome::Gone];
        let is_fine = matches!(one.outcome, Outcome::Answered(_)) || may_be.contains(&one.outcome);
        assert!(is_fine, "{one}");
    }
    ran_late(&history, woken);
}

/// Nothing runs whose client has been told what became of it.
fn ran_late(history: &History, woken: Duration) {
    for run in history.runs.iter().filter(|run| run.at >= woken) {
        let of = |one: &&Exchange| one.id == run.id;
        let exchange = history.exchanges.iter().find(of).unwrap();
        let is_over = exchange.ended.is_some_and(|ended| ended < run.at);
        assert!(!is_over, "runs at {:?}: {exchange}", run.at);
    }
}
