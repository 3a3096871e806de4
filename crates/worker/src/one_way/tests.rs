//! That a client's 202 comes after its message was taken, and not much later.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use futures_util::StreamExt;
use hexagram_proto::link::worker_message::Kind;
use hexagram_proto::link::{End, WorkerMessage};
use hexagram_proto::{Drained, INITIAL_WINDOW, outbox};
use hexagram_runtime::metrics::Metrics;
use tokio::time::Instant;

use super::*;
use crate::metrics::WorkerMetrics;
use crate::session::tests::session;
use crate::upstream::fake::{Request, Server, greeting, reply, soon, upstream};

const NEWS: &str = r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#;

/// A legacy server that answers [`NEWS`] with `answer`.
async fn server(answer: Vec<u8>) -> Server {
    Server::start(move |request: &Request| match request.body == NEWS {
        true => answer.clone(),
        false => greeting(request),
    })
    .await
}

/// Sends the message; what is there when it was answered.
async fn accepted<T>(session: &Arc<Session>, seen: impl FnOnce() -> T) -> (End, T) {
    let (outbox, mut drained) = outbox();
    let refusals = WorkerMetrics::register(&Metrics::new()).refusals;
    let reply = Reply::new(1, INITIAL_WINDOW, outbox, refusals);
    let running = run(Arc::clone(session), Bytes::from(NEWS), reply);
    let answered = async {
        let end = end(&mut drained).await;
        (end, seen())
    };
    tokio::pin!(running, answered);
    soon(async {
        tokio::select! {
            biased;
            answered = &mut answered => answered,
            () = running => answered.await,
        }
    })
    .await
}

async fn end(drained: &mut Drained<WorkerMessage>) -> End {
    let frame = drained.next().await.unwrap();
    match frame.into_iter().next().unwrap().kind {
        Some(Kind::End(end)) => end,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_comes_after_the_202_comes_after_the_message() {
    let server = server(reply("202 Accepted", "", "")).await;
    let (session, upstream) = (session(), upstream(&server.url()));
    soon(session.connection(&upstream)).await.unwrap();
    let has_it = || server.seen().iter().any(|request| request.body == NEWS);
    let (end, had_it) = accepted(&session, has_it).await;
    assert_eq!(end.head.unwrap().status, 202);
    assert!(had_it, "it was accepted before the upstream had it");
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_keeps_nobody_waiting() {
    let server = server(Vec::new()).await;
    let (session, upstream) = (session(), upstream(&server.url()));
    soon(session.connection(&upstream)).await.unwrap();
    let begun = Instant::now();
    let (end, ()) = accepted(&session, || ()).await;
    assert_eq!(end.head.unwrap().status, 202);
    assert!(begun.elapsed() >= TAKEN, "it had a moment to take it");
}

#[tokio::test]
async fn a_deleted_session_accepts_nothing() {
    let (session, gone) = (session(), 404);
    session.delete();
    let (outbox, mut drained) = outbox();
    let refusals = WorkerMetrics::register(&Metrics::new()).refusals;
    let reply = Reply::new(1, INITIAL_WINDOW, outbox, refusals);
    run(session, Bytes::from(NEWS), reply).await;
    let frame = drained.next().await.unwrap();
    match frame.into_iter().next().unwrap().kind {
        Some(Kind::Event(event)) => assert_eq!(event.head.unwrap().status, gone),
        other => panic!("{other:?}"),
    }
}
