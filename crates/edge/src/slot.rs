//! What the worker has said on an exchange and the client has not read yet.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hexagram_mcp::error::Problem;
use hexagram_proto::link::{Head, Misdirected};
use parking_lot::Mutex;

/// What comes on a link for an exchange.
#[derive(Debug)]
pub(crate) enum Word {
    /// For the client.
    Client(Incoming),
    /// The worker does not serve the shard, and has not admitted the message.
    Misdirected(Misdirected),
    /// The stream goes on at another worker.
    Reattach,
}

/// What the client's side of an exchange hears.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A stream begins, or says where it stands.
    Start(Position),
    /// A JSON-RPC message or a part of it.
    Event(Piece),
    /// The exchange is over, without a further message.
    End(Head),
    /// The message found no owner within its time, and ran nowhere.
    Refused(Problem),
    /// Nothing has come for a keep-alive's time.
    Quiet,
    /// The rest will never come.
    Lost(Loss),
}

/// Why an exchange was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The link to the worker broke.
    Worker,
    /// This edge has drained for as long as it may.
    Edge,
}

impl Word {
    /// Whether nothing follows on the link for the exchange.
    pub(crate) fn ends(&self) -> bool {
        match self {
            Self::Client(incoming) => incoming.ends(),
            Self::Misdirected(_) | Self::Reattach => true,
        }
    }
}

impl From<Incoming> for Word {
    fn from(incoming: Incoming) -> Self {
        Self::Client(incoming)
    }
}

impl Incoming {
    /// Whether nothing follows on the exchange.
    pub(crate) fn ends(&self) -> bool {
        match self {
            Self::Start(_) | Self::Quiet => false,
            Self::Event(piece) => piece.last && !piece.more,
            Self::End(_) | Self::Refused(_) | Self::Lost(_) => true,
        }
    }
}

/// From where a client may go on if it loses the stream.
#[derive(Debug, Default)]
pub(crate) struct Position {
    /// Empty where it may not.
    pub(crate) event_id: String,
    /// How long it should wait before, in ms; 0: not said.
    pub(crate) retry_ms: u32,
}

/// A part of a message to the client.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) data: Bytes,
    /// The message goes on in the next piece.
    pub(crate) more: bool,
    /// The message is the exchange's last.
    pub(crate) last: bool,
    pub(crate) head: Option<Head>,
    /// Empty where it has none.
    pub(crate) event_id: String,
}

/// Where the link's reader leaves what arrives for one exchange.
///
/// Bounded by the exchange's credit: a worker sends no more than was granted.
#[derive(Debug, Default)]
pub(crate) struct Slot(Mutex<SlotState>);

#[derive(Debug, Default)]
struct SlotState {
    // Most exchanges get one message; it needs no queue.
    first: Option<Word>,
    rest: VecDeque<Word>,
    waker: Option<Waker>,
    // Seconds without a message, counted by the edge's one clock: a timer for
    // each exchange would cost more than the rest of its bookkeeping.
    quiet: u64,
    quiet_due: bool,
}

impl Slot {
    pub(crate) fn put(&self, word: Word) {
        let mut state = self.0.lock();
        if state.first.is_none() && state.rest.is_empty() {
            state.first = Some(word);
        } else {
            state.rest.push_back(word);
        }
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// A second has passed; after `keep_alive` quiet ones the client's side
    /// is told.
    pub(crate) fn tick(&self, keep_alive: u64) {
        let mut state = self.0.lock();
        state.quiet += 1;
        if state.quiet < keep_alive {
            return;
        }
        state.quiet = 0;
        state.quiet_due = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Word> {
        let mut state = self.0.lock();
        let next = state.first.take().or_else(|| state.rest.pop_front());
        if let Some(word) = next {
            state.quiet = 0;
            state.quiet_due = false;
            return Poll::Ready(word);
        }
        if std::mem::take(&mut state.quiet_due) {
            return Poll::Ready(Incoming::Quiet.into());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    const KEEP_ALIVE: u64 = 3;

    /// Counts how often a reader is woken.
    #[derive(Default)]
    struct Alarm(AtomicUsize);

    impl Wake for Alarm {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn event(text: &'static str) -> Word {
        let piece = Piece {
            data: Bytes::from_static(text.as_bytes()),
            more: false,
            last: false,
            head: None,
            event_id: String::new(),
        };
        Incoming::Event(piece).into()
    }

    /// What a reader finds: an event's text, or the kind of anything else.
    fn read(slot: &Slot) -> String {
        match slot.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => "nothing".to_owned(),
            Poll::Ready(Word::Client(Incoming::Event(piece))) => {
                String::from_utf8_lossy(&piece.data).into_owned()
            }
            Poll::Ready(Word::Client(other)) => format!("{other:?}"),
            Poll::Ready(other) => format!("{other:?}"),
        }
    }

    fn tick(slot: &Slot, seconds: u64) {
        (0..seconds).for_each(|_| slot.tick(KEEP_ALIVE));
    }

    #[test]
    fn what_comes_first_is_read_first() {
        let slot = Slot::default();
        for text in ["a", "b", "c"] {
            slot.put(event(text));
        }
        assert_eq!(read(&slot), "a");
        // "b" and "c" are queued; a later one must not overtake them.
        slot.put(event("d"));
        assert_eq!([(); 4].map(|()| read(&slot)), ["b", "c", "d", "nothing"]);
    }

    #[test]
    fn a_waiting_reader_is_woken_once() {
        let (slot, alarm) = (Slot::default(), Arc::new(Alarm::default()));
        let waker = Waker::from(Arc::clone(&alarm));
        assert!(slot.poll(&mut Context::from_waker(&waker)).is_pending());
        slot.put(event("a"));
        slot.put(event("b"));
        assert_eq!(alarm.0.load(Ordering::Relaxed), 1);
        assert_eq!(read(&slot), "a");
    }

    #[test]
    fn silence_is_told_once_a_keep_alive() {
        let slot = Slot::default();
        tick(&slot, KEEP_ALIVE - 1);
        assert_eq!(read(&slot), "nothing");
        tick(&slot, 1);
        assert_eq!([(); 2].map(|()| read(&slot)), ["Quiet", "nothing"]);
        tick(&slot, KEEP_ALIVE);
        assert_eq!(read(&slot), "Quiet");
    }

    #[test]
    fn a_message_ends_the_silence() {
        let slot = Slot::default();
        tick(&slot, KEEP_ALIVE);
        slot.put(event("a"));
        assert_eq!([(); 2].map(|()| read(&slot)), ["a", "nothing"]);
        tick(&slot, KEEP_ALIVE - 1);
        assert_eq!(read(&slot), "nothing");
    }

    #[test]
    fn only_the_last_piece_of_the_last_message_ends() {
        let piece = |more, last| {
            let data = Bytes::new();
            Incoming::Event(Piece {
                data,
                more,
                last,
                head: None,
                event_id: String::new(),
            })
        };
        assert!(piece(false, true).ends());
        assert!(!piece(true, true).ends() && !piece(false, false).ends());
        assert!(Incoming::Lost(Loss::Worker).ends() && Incoming::End(Head::default()).ends());
        assert!(!Incoming::Start(Position::default()).ends() && !Incoming::Quiet.ends());
        assert!(Word::Misdirected(Misdirected::default()).ends() && Word::Reattach.ends());
    }
}
