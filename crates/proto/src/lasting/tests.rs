use futures_util::{FutureExt, StreamExt};

use super::*;
use crate::journal::CONFIRM_FRAMES;
use crate::link::{EdgeFrame, EdgeMessage, WorkerFrame, WorkerMessage};
use crate::{Outbox, outbox};

type EdgeEnd = (Outbox<EdgeMessage>, Lasting<EdgeFrame>);

fn edge() -> EdgeEnd {
    let (out, drained) = outbox();
    (out, Lasting::new(drained))
}

/// What leaves now, as numbers of messages; `None` at the end.
fn sent(sending: &mut Sending<EdgeFrame>) -> Vec<Option<usize>> {
    let mut all = Vec::new();
    // The outbox lets others add theirs before it cuts a frame.
    let mut idle = 0;
    while idle < 2 {
        match sending.next().now_or_never() {
            Some(None) => {
                all.push(None);
                return all;
            }
            Some(Some(frame)) => all.push(Some(frame.messages.len())),
            None => idle += 1,
        }
    }
    all
}

fn say(out: &Outbox<EdgeMessage>) {
    out.push(EdgeMessage::default()).expect("it is open");
}

fn heard(messages: usize, received: u64) -> WorkerFrame {
    WorkerFrame::batch(vec![WorkerMessage::default(); messages], received)
}

#[test]
fn nothing_leaves_before_the_greeting_is_over() {
    let (out, link) = edge();
    say(&out);
    let mut sending = link.connect(Hello::default());
    assert_eq!(sent(&mut sending), [Some(0)]);
    link.begin(LASTING_SINCE);
    assert_eq!(sent(&mut sending), [Some(1)]);
}

#[test]
fn what_the_peer_lacks_leaves_again_on_the_next_connection() {
    let (out, link) = edge();
    let mut first = link.connect(Hello::default());
    link.begin(LASTING_SINCE);
    for _ in 0..3 {
        say(&out);
        sent(&mut first);
    }
    link.take(&heard(1, 1)).expect("possible");
    say(&out);
    let mut second = link.connect(Hello::default());
    assert_eq!(sent(&mut first), [None], "the first carries nothing more");
    assert_eq!(sent(&mut second), [Some(0)]);
    link.go_on(2).expect("possible");
    assert_eq!(sent(&mut second), [Some(1), Some(1)]);
    assert_eq!(link.received(), 1);
    assert!(link.go_on(1).is_err() && link.go_on(9).is_err());
}

#[test]
fn an_old_version_counts_nothing_and_cannot_go_on() {
    let (out, link) = edge();
    let mut sending = link.connect(Hello::default());
    link.begin(LASTING_SINCE - 1);
    say(&out);
    sent(&mut sending);
    link.take(&heard(1, 0)).expect("it is not looked at");
    assert_eq!(link.received(), 0);
    assert!(link.go_on(1).is_err());
}

#[test]
fn who_only_listens_confirms() {
    let (_out, link) = edge();
    let mut sending = link.connect(Hello::default());
    link.begin(LASTING_SINCE);
    assert_eq!(sent(&mut sending), [Some(0)]);
    for _ in 0..CONFIRM_FRAMES {
        link.take(&heard(1, 0)).expect("possible");
    }
    let frame = sending.next().now_or_never().flatten().expect("a frame");
    assert_eq!((frame.messages.len(), frame.received), (0, CONFIRM_FRAMES));
    assert_eq!(sent(&mut sending), []);
}

#[tokio::test]
async fn a_confirmation_wakes_its_sender() {
    let (out, drained) = outbox::<WorkerMessage>();
    let link = Lasting::<WorkerFrame>::new(drained);
    let mut sending = link.connect(Hello::default());
    link.begin(LASTING_SINCE);
    sending.next().await;
    let next = tokio::spawn(async move { sending.next().await });
    tokio::task::yield_now().await;
    for _ in 0..CONFIRM_FRAMES {
        link.take(&heard(1, 0)).expect("possible");
    }
    let frame = next.await.expect("no panic").expect("a frame");
    assert_eq!(frame.received, CONFIRM_FRAMES);
    drop(out);
}
