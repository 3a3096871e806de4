//! Exchanges as clients read them: JSON where that is all, else event streams.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use futures_util::FutureExt;
use hexagram_proto::Drained;
use hexagram_proto::link::{EdgeMessage, Event, Start, WorkerMessage, worker_message};
use http_body_util::BodyExt;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::link::Link;
use crate::slot::Loss;
use crate::switchboard::Switchboard;
use crate::testing::{linked, request};

const KEEP_ALIVE_SECONDS: u64 = 1;

/// A client's request and the worker's end of it.
struct Call {
    board: Arc<Switchboard>,
    link: Arc<Link>,
    /// What the link sends; dropped, the link would be closed.
    _sent: Drained<EdgeMessage>,
    draining: CancellationToken,
    streams: IntGauge,
    may_have_run: bool,
    id: Option<&'static str>,
}

impl Call {
    fn new() -> Self {
        let (board, link, sent) = linked();
        Self {
            board,
            link,
            _sent: sent,
            draining: CancellationToken::new(),
            streams: IntGauge::new("streams", "Open.").unwrap(),
            may_have_run: true,
            id: Some("7"),
        }
    }

    /// The reply once the worker has said all of `said`.
    fn reply(&self, said: Vec<worker_message::Kind>) -> Result<Response, Problem> {
        let replier = Replier {
            id: self.id,
            batch: None,
            may_have_run: self.may_have_run,
            may_stream: true,
            end: Some(Box::pin(self.draining.clone().cancelled_owned())),
            streams: self.streams.clone(),
        };
        // The link counts its exchanges from 1.
        let exchange = Exchange::open(&self.board, request())?;
        self.say(said);
        replier
            .answer(exchange)
            .now_or_never()
            .expect("the worker has said enough")
    }

    fn say(&self, said: Vec<worker_message::Kind>) {
        let messages = said
            .into_iter()
            .map(|kind| WorkerMessage { kind: Some(kind) });
        self.link.deliver(messages.collect());
    }
}

fn start() -> worker_message::Kind {
    worker_message::Kind::Start(Start {
        exchange: 1,
        ..Start::default()
    })
}

fn event(text: &'static str, more: bool, last: bool) -> worker_message::Kind {
    worker_message::Kind::Event(Event {
        exchange: 1,
        data: Bytes::from_static(text.as_bytes()),
        more,
        last,
        ..Event::default()
    })
}

/// The next part of a body, if there is one now.
fn next(response: &mut Response) -> Option<Option<Result<String, String>>> {
    let frame = response.body_mut().frame().now_or_never()?;
    Some(frame.map(|frame| match frame {
        Ok(frame) => Ok(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()),
        Err(broken) => Err(broken.to_string()),
    }))
}

fn text(response: &mut Response) -> String {
    next(response).unwrap().unwrap().unwrap()
}

fn content_type(response: &Response) -> &HeaderValue {
    &response.headers()[CONTENT_TYPE]
}

#[test]
fn a_part_of_an_event_carries_what_its_place_needs() {
    let part = |text: &'static str, more, starts| {
        let piece = Piece {
            data: Bytes::from_static(text.as_bytes()),
            more,
            last: false,
            head: None,
            event_id: String::new(),
        };
        event_part(&piece, starts)
    };
    assert_eq!(part("{}", false, true), "event: message\ndata: {}\n\n");
    assert_eq!(part("{\"a\":", true, true), "event: message\ndata: {\"a\":");
    assert_eq!(part("1,", true, false), "1,");
    // A line break within the data would end it.
    assert_eq!(part("\r\n2}", false, false), "  2}\n\n");
}

#[test]
fn one_message_is_plain_json_and_no_stream() {
    let call = Call::new();
    let mut reply = call.reply(vec![event("{}", false, true)]).unwrap();
    assert_eq!(content_type(&reply), JSON);
    assert_eq!(text(&mut reply), "{}");
    assert_eq!(next(&mut reply), Some(None));
    assert_eq!(call.streams.get(), 0);
}

#[test]
fn several_messages_are_events() {
    let call = Call::new();
    let said = vec![
        start(),
        event("[1]", false, false),
        event("[2]", false, true),
    ];
    let mut reply = call.reply(said).unwrap();
    assert_eq!(content_type(&reply), EVENT_STREAM);
    assert_eq!(call.streams.get(), 1);
    assert_eq!(text(&mut reply), "event: message\ndata: [1]\n\n");
    assert_eq!(text(&mut reply), "event: message\ndata: [2]\n\n");
    assert_eq!(next(&mut reply), Some(None));
    drop(reply);
    assert_eq!(call.streams.get(), 0);
}

#[test]
fn a_long_message_whose_rest_is_lost_is_cut_off() {
    let call = Call::new();
    let mut reply = call.reply(vec![event("{\"a\":", true, true)]).unwrap();
    assert_eq!(content_type(&reply), JSON);
    assert_eq!(text(&mut reply), "{\"a\":");
    call.link.fail(Loss::Worker);
    assert!(matches!(next(&mut reply), Some(Some(Err(_)))));
}

#[test]
fn a_lost_stream_ends_with_the_requests_answer() {
    let call = Call::new();
    let said = vec![start(), event("{\"half\":", true, false)];
    let mut reply = call.reply(said).unwrap();
    assert_eq!(text(&mut reply), "event: message\ndata: {\"half\":");
    call.link.fail(Loss::Worker);
    let last = text(&mut reply);
    // The half event is cut off before the error begins.
    assert!(last.starts_with("\n\nevent: message\ndata: "), "{last}");
    assert!(
        last.contains("\"id\":7") && last.contains("outcome_unknown"),
        "{last}"
    );
    assert_eq!(next(&mut reply), Some(None));
}

#[test]
fn what_was_lost_before_its_first_word_is_a_refusal() {
    let call = Call {
        may_have_run: false,
        ..Call::new()
    };
    call.link.fail(Loss::Worker);
    let refused = call.reply(Vec::new()).err();
    assert!(matches!(refused, Some(Problem::WorkerDown { .. })));
}

#[test]
fn silence_becomes_comments_but_never_within_a_message() {
    let call = Call::new();
    let mut reply = call.reply(vec![start()]).unwrap();
    assert_eq!(next(&mut reply), None);
    call.link.tick(KEEP_ALIVE_SECONDS);
    assert_eq!(text(&mut reply).as_bytes(), KEEP_ALIVE);
    call.say(vec![event("{", true, false)]);
    text(&mut reply);
    call.link.tick(KEEP_ALIVE_SECONDS);
    assert_eq!(next(&mut reply), None);
}

#[test]
fn a_draining_edge_ends_a_standing_stream_without_a_word() {
    let call = Call {
        id: None,
        ..Call::new()
    };
    let mut reply = call.reply(vec![start()]).unwrap();
    assert_eq!(next(&mut reply), None);
    call.draining.cancel();
    assert_eq!(next(&mut reply), Some(None));
}

#[test]
fn a_draining_edge_completes_a_subscription() {
    let call = Call::new();
    let mut reply = call.reply(vec![event("{}", false, false)]).unwrap();
    text(&mut reply);
    assert_eq!(next(&mut reply), None);
    call.draining.cancel();
    let said = text(&mut reply);
    assert!(
        said.contains(r#""id":7,"result":{"resultType":"complete""#),
        "{said}"
    );
    assert_eq!(next(&mut reply), Some(None));
}
