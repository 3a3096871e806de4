//! A worker that stands still for longer than it takes to be replaced, and then goes on.

use std::time::Duration;

use hexagram_sim::history::{Exchange, History, Step};
use rustix::process::Signal;
use tokio::time::sleep;

use crate::scene::{Scene, Who};
use crate::stored::only_unknown;

/// A signal may take so long to stop a process.
const MARGIN: Duration = Duration::from_millis(100);

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
    only_unknown(&history);
    ran_late(&history, event + MARGIN, woken);
}

/// What waited for the worker while it stood still does not run when it wakes. What it had
/// admitted before may: its client was told that it may have run.
fn ran_late(history: &History, stopped: Duration, woken: Duration) {
    let admitted = |id: &str| {
        history.events.iter().any(|event| {
            matches!(&event.step, Step::Admitted { id: other, .. } if other == id)
                && event.host == "worker-0"
                && event.at <= stopped
        })
    };
    for run in history.runs.iter().filter(|run| run.at >= woken) {
        let of = |one: &&Exchange| one.id == run.id;
        let exchange = history.exchanges.iter().find(of).unwrap();
        let is_over = exchange.ended.is_some_and(|ended| ended < run.at);
        assert!(
            !is_over || admitted(&run.id),
            "runs at {:?}: {exchange}",
            run.at
        );
    }
}
