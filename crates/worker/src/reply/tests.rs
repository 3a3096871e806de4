//! That an exchange keeps to its credit and never ends in silence.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use futures_util::{FutureExt, StreamExt};
use hexagram_proto::{Drained, outbox};
use hexagram_runtime::metrics::Metrics;
use serde_json::Value;
use worker_message::Kind;

use super::*;
use crate::metrics::WorkerMetrics;

const NUMBER: u64 = 9;

/// A reply and the edge's end of its link.
struct Scene {
    reply: Reply,
    sent: Drained<WorkerMessage>,
    metrics: Metrics,
}

fn scene(credit: usize) -> Scene {
    let (outbox, sent) = outbox();
    let metrics = Metrics::new();
    let refusals = WorkerMetrics::register(&metrics).refusals;
    let credit = u32::try_from(credit).unwrap();
    let mut reply = Reply::new(NUMBER, credit, outbox, refusals);
    reply.set_id("7");
    Scene {
        reply,
        sent,
        metrics,
    }
}

/// What has been sent since the last look.
fn sent(drained: &mut Drained<WorkerMessage>) -> Vec<Kind> {
    let mut look = || drained.next().now_or_never().flatten();
    // One that was woken yields once, so that more may gather.
    let frame = look().or_else(look).unwrap_or_default();
    frame
        .into_iter()
        .map(|message| message.kind.unwrap())
        .collect()
}

/// The only message of an exchange that failed: its head's status and its error.
#[track_caller]
fn failure(kinds: &[Kind]) -> (Option<u32>, Value) {
    let [Kind::Event(event)] = kinds else {
        panic!("{kinds:?}");
    };
    assert!(event.exchange == NUMBER && event.last && !event.more);
    let error: Value = serde_json::from_slice(&event.data).unwrap();
    assert_eq!(error["id"], 7);
    (
        event.head.as_ref().map(|head| head.status),
        error["error"].clone(),
    )
}

#[tokio::test]
async fn credit_is_waited_for() {
    let flow = Flow::new(4);
    assert_eq!(flow.credit(4).now_or_never(), Some(true));
    let waiting = flow.credit(1);
    tokio::pin!(waiting);
    assert_eq!((&mut waiting).now_or_never(), None);
    flow.grant(1);
    assert!(waiting.await);
}

#[tokio::test]
async fn who_left_is_waited_for_no_longer() {
    let flow = Flow::new(0);
    let (waiting, left) = (flow.credit(1), flow.left());
    tokio::pin!(waiting, left);
    assert_eq!((&mut waiting).now_or_never(), None);
    assert_eq!((&mut left).now_or_never(), None);
    flow.leave();
    assert!(!waiting.await);
    left.await;
    assert_eq!(
        flow.credit(0).now_or_never(),
        Some(false),
        "also with credit"
    );
}

#[test]
fn dropped_unanswered_it_answers() {
    let mut scene = scene(0);
    drop(scene.reply);
    let (status, error) = failure(&sent(&mut scene.sent));
    assert_eq!(error["data"]["reason"], "internal");
    // To a legacy client any other status is a broken transport.
    assert_eq!(status, Some(200));
    let counted = "hexagram_worker_refusals_total{reason=\"internal\"} 1\n";
    assert!(scene.metrics.encode().contains(counted));
}

#[test]
fn the_era_decides_the_status() {
    let mut scene = scene(0);
    scene.reply.set_era(Era::Modern);
    scene.reply.refuse(&Problem::Internal);
    assert_eq!(failure(&sent(&mut scene.sent)).0, Some(500));
}

#[test]
fn a_refusal_says_when_to_try_again() {
    let mut scene = scene(0);
    scene.reply.refuse(&Problem::Draining {
        retry_after_ms: 1500,
    });
    let kinds = sent(&mut scene.sent);
    let [Kind::Event(event)] = &kinds[..] else {
        panic!("{kinds:?}");
    };
    assert_eq!(event.head.as_ref().unwrap().retry_after_ms, 1500);
    assert_eq!(failure(&kinds).0, Some(503));
}

#[test]
fn a_stream_that_has_begun_gets_no_second_head() {
    let mut scene = scene(0);
    scene.reply.start();
    assert!(matches!(sent(&mut scene.sent)[..], [Kind::Start(_)]));
    drop(scene.reply);
    assert_eq!(failure(&sent(&mut scene.sent)).0, None);
}

#[test]
fn a_short_answer_leaves_at_once_and_nothing_follows() {
    let mut scene = scene(0);
    let head = Head {
        session_id: "s".to_owned(),
        ..Head::default()
    };
    let rest = scene.reply.answer(Bytes::from_static(b"{}"), Some(head));
    assert!(rest.is_none());
    let kinds = sent(&mut scene.sent);
    assert!(
        matches!(&kinds[..], [Kind::Event(event)]
            if event.last && event.head.as_ref().unwrap().session_id == "s"),
        "{kinds:?}"
    );
}

#[tokio::test]
async fn a_long_answer_goes_out_as_far_as_its_credit() {
    let mut scene = scene(CHUNK_BYTES);
    let flow = Arc::clone(scene.reply.flow());
    let long = Bytes::from(vec![b'x'; 2 * CHUNK_BYTES]);
    let mut run = scene.reply.answer(long, None).expect("it takes its time");
    assert!((&mut run).now_or_never().is_none());
    let first = sent(&mut scene.sent);
    assert!(
        matches!(&first[..], [Kind::Event(event)] if event.more),
        "{first:?}"
    );
    flow.grant(u32::try_from(CHUNK_BYTES).unwrap());
    run.await;
    let last = sent(&mut scene.sent);
    assert!(
        matches!(&last[..], [Kind::Event(event)] if event.last && !event.more),
        "{last:?}"
    );
}

#[tokio::test]
async fn an_event_for_a_client_that_left_is_dropped() {
    let mut scene = scene(0);
    scene.reply.flow().leave();
    assert!(!scene.reply.event(Bytes::from_static(b"{}")).await);
    assert!(sent(&mut scene.sent).is_empty());
    scene.reply.end(http::StatusCode::OK);
    assert!(matches!(sent(&mut scene.sent)[..], [Kind::End(_)]));
}

#[test]
fn a_cancelled_request_ends_without_a_response() {
    let mut scene = scene(0);
    scene.reply.end_unanswered();
    assert!(matches!(
        sent(&mut scene.sent)[..],
        [Kind::Start(_), Kind::End(_)]
    ));
}

#[test]
fn a_shard_that_is_not_here_is_told_and_counted() {
    let mut scene = scene(0);
    let known = Successor {
        worker: "worker-1".parse().expect("a name"),
        epoch: hexagram_core::Epoch::new(5).expect("an epoch"),
    };
    scene.reply.misdirected(3, Some(&known));
    let kinds = sent(&mut scene.sent);
    assert!(
        matches!(&kinds[..], [Kind::Misdirected(to)] if (to.shard, to.epoch) == (3, 5)),
        "{kinds:?}"
    );
    let counted = "hexagram_worker_refusals_total{reason=\"misdirected\"} 1\n";
    assert!(scene.metrics.encode().contains(counted));
}
