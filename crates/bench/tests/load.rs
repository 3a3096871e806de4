//! The generator against the bare server, and against servers that misbehave.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hexagram_bench::era::Era;
use hexagram_bench::failure::{Failure, Said};
use hexagram_bench::fleet::{Fleet, Pace};
use hexagram_bench::tally::Tally;
use http::Response;
use http_body_util::Full;
use serde_json::json;
use support::{load, right, server, short, target};
use tokio::net::TcpListener;

const ERAS: [Era; 2] = [Era::Legacy, Era::Modern];

/// All failures are of this kind, and there is at least one.
fn assert_only(tally: &Tally, failure: &Failure) {
    let kinds: Vec<_> = tally.failures().keys().collect();
    assert_eq!((tally.answered(), kinds), (0, vec![failure]));
}

#[tokio::test]
async fn the_bare_server_answers_every_call_of_both_eras() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(hexagram_bench::bare::serve(listener));
    for era in ERAS {
        let closed = load(&target(address, era), 4, short(Pace::Closed)).await;
        assert_eq!(closed.failed(), 0, "{:?}", closed.failures());
        assert!(closed.answered() >= 4);
        let open = load(&target(address, era), 4, short(Pace::Open(500))).await;
        assert_eq!(open.failed(), 0, "{:?}", open.failures());
        assert_eq!(
            open.answered() + open.unsent(),
            100,
            "200 ms at 500 calls/s"
        );
    }
}

#[tokio::test]
async fn a_wrong_id_is_an_error_not_an_answer() {
    let address = server(|mut message| {
        if message["method"] == "tools/call" {
            message["id"] = json!(message["id"].as_u64().unwrap() + 1);
        }
        Some(right(&message))
    })
    .await;
    for era in ERAS {
        let tally = load(&target(address, era), 2, short(Pace::Open(100))).await;
        assert_only(&tally, &Failure::WrongId);
        assert_eq!(tally.failed() + tally.unsent(), 20, "each call is counted");
    }
}

#[tokio::test]
async fn another_text_is_an_error() {
    let address = server(|mut message| {
        message["params"]["arguments"]["message"] = json!("something else");
        Some(right(&message))
    })
    .await;
    let tally = load(&target(address, Era::Modern), 1, short(Pace::Closed)).await;
    assert_only(&tally, &Failure::WrongText(Said::default()));
}

#[tokio::test]
async fn event_stream_answers_count() {
    let address = server(|message| {
        let id = &message["id"];
        let content = json!([{ "text": message["params"]["arguments"]["message"] }]);
        let answer = json!({ "jsonrpc": "2.0", "id": id, "result": { "content": content } });
        let stream =
            format!("data: {{\"method\":\"notifications/message\"}}\n\ndata: {answer}\n\n");
        let response =
            Response::builder().header("content-type", "text/event-stream; charset=utf-8");
        Some(response.body(Full::from(stream)).unwrap())
    })
    .await;
    let tally = load(&target(address, Era::Modern), 2, short(Pace::Closed)).await;
    assert_eq!(tally.failed(), 0, "{:?}", tally.failures());
    assert!(tally.answered() >= 2);
}

#[tokio::test]
async fn a_lost_session_is_an_error_once_and_then_replaced() {
    let sessions = Arc::new(AtomicUsize::new(0));
    let started = sessions.clone();
    let address = server(move |message| {
        if message["method"] == "initialize" {
            started.fetch_add(1, Ordering::Relaxed);
        }
        let is_lost = message["method"] == "tools/call" && started.load(Ordering::Relaxed) == 1;
        let lost = || Response::builder().status(404).body(Full::default());
        Some(if is_lost {
            lost().unwrap()
        } else {
            right(&message)
        })
    })
    .await;
    let tally = load(&target(address, Era::Legacy), 1, short(Pace::Closed)).await;
    let lost = Failure::Refused {
        status: 404,
        code: None,
        reason: None,
        said: Said::default(),
    };
    assert_eq!((tally.failed(), tally.failures().get(&lost)), (1, Some(&1)));
    assert!(tally.answered() >= 1);
    assert_eq!(sessions.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_connection_the_server_closes_is_opened_again() {
    let address = server(|message| {
        let mut response = right(&message);
        let close = "close".parse().unwrap();
        response.headers_mut().insert("connection", close);
        Some(response)
    })
    .await;
    let tally = load(&target(address, Era::Modern), 1, short(Pace::Closed)).await;
    assert_eq!(tally.failed(), 0, "{:?}", tally.failures());
    assert!(tally.answered() >= 2);
}

#[tokio::test]
async fn a_silent_server_is_counted_with_all_calls_it_held_up() {
    let address = server(|_| None).await;
    let target = target(address, Era::Modern);
    let plan = |pace| {
        let grace = Duration::from_millis(100);
        hexagram_bench::fleet::Plan {
            grace,
            ..short(pace)
        }
    };
    let open = load(&target, 2, plan(Pace::Open(100))).await;
    assert_only(&open, &Failure::TimedOut);
    assert_eq!((open.failed(), open.unsent()), (2, 18));
    assert!(
        open.latency(1.0) > Duration::from_millis(100),
        "held-up calls show"
    );
    let closed = load(&target, 2, plan(Pace::Closed)).await;
    assert_only(&closed, &Failure::TimedOut);
}

#[tokio::test]
async fn nobody_listening_is_said_with_url_and_fix() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let failure = Fleet::open(&target(address, Era::Legacy), 3)
        .await
        .unwrap_err();
    let text = failure.to_string();
    assert!(text.contains(&address.to_string()), "{text}");
    assert!(text.contains("hexagram local"), "{text}");
}
