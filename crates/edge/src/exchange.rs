//! One exchange as its edge sees it, wherever its shard goes meanwhile.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hexagram_core::Epoch;
use hexagram_mcp::error::Problem;
use hexagram_proto::link::{ExchangeKind, Head, Misdirected};
use hexagram_proto::{Consumed, STEPS};
use tokio::time::Instant;

use crate::delivered::Delivered;
use crate::link::{Link, RETRY_AFTER_MS};
use crate::parking::Kept;
use crate::routing::Routed;
use crate::seek::{GaveUp, Seek};
use crate::slot::{Incoming, Loss, Piece, Word};
use crate::switchboard::{Attached, LOSS_WAIT, Switchboard};

/// A message is sent away this often, then refused (DESIGN 7).
const REDIRECTS: u8 = 3;
/// How long a standing stream looks for its shard's new owner. Its client waits
/// for nothing meanwhile.
const STREAM_WAIT: Duration = Duration::from_secs(10);

type Seeking = Pin<Box<dyn Future<Output = Result<Attached, GaveUp>> + Send>>;

/// The client's side of an exchange. Dropped before its end, it tells the
/// worker that the client left.
///
/// Until the worker's first answer it keeps the message, and follows the shard
/// to another owner unseen by the client; a standing stream does so always.
pub(crate) struct Exchange {
    board: Arc<Switchboard>,
    message: Option<Routed>,
    // The message may be sent again after its worker was lost.
    kept: Option<Kept>,
    place: Place,
    // When it first had to wait for an owner, since the last answer.
    since: Option<Instant>,
    redirects: u8,
    delivered: Delivered,
    consumed: Consumed,
}

enum Place {
    Seeking(Seeking, Option<Arc<Link>>),
    At(Attached),
    // The link that it was lost on, or ended on.
    Over(Option<Arc<Link>>),
}

impl Place {
    fn link(&self) -> Option<&Arc<Link>> {
        match self {
            Self::Seeking(_, last) | Self::Over(last) => last.as_ref(),
            Self::At(at) => Some(&at.link),
        }
    }
}

impl Exchange {
    /// Sends a message to its shard's owner, or parks it until there is one;
    /// its reply comes through the exchange.
    ///
    /// # Errors
    /// The refusal for the client where waiting is of no use or too much waits
    /// already: nothing was sent.
    pub(crate) fn open(board: &Arc<Switchboard>, message: Routed) -> Result<Self, Problem> {
        let place = match board.attach(&message, None) {
            Ok(at) => Some(Place::At(at)),
            Err(obstacle) if obstacle.wait.is_zero() => return Err(obstacle.problem),
            Err(_) => None,
        };
        let parks = place.is_none();
        let mut exchange = Self {
            board: Arc::clone(board),
            kept: board.lot.keep(message.open.body.len()),
            delivered: Delivered::new(&message.open.last_event_id),
            message: Some(message),
            place: place.unwrap_or(Place::Over(None)),
            since: None,
            redirects: 0,
            consumed: Consumed::default(),
        };
        if parks {
            exchange.seek(None)?;
        }
        Ok(exchange)
    }

    /// The next thing the worker says; nothing follows the end.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        loop {
            let heard = match &mut self.place {
                Place::At(at) => {
                    let word = ready!(at.slot.poll(cx));
                    self.hear(word)
                }
                Place::Seeking(seeking, _) => {
                    let found = ready!(seeking.as_mut().poll(cx));
                    self.found(found)
                }
                Place::Over(_) => return Poll::Pending,
            };
            let Some(incoming) = heard else { continue };
            if incoming.ends() {
                self.end();
            }
            return Poll::Ready(incoming);
        }
    }

    pub(crate) async fn next(&mut self) -> Incoming {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// What is for the client; nothing where the exchange goes on elsewhere.
    fn hear(&mut self, word: Word) -> Option<Incoming> {
        let answer = match word {
            Word::Client(Incoming::Quiet) => return Some(Incoming::Quiet),
            Word::Client(Incoming::Lost(Loss::Worker)) => return self.lose(),
            Word::Client(incoming) => incoming,
            Word::Misdirected(away) => return self.send_again(&away),
            Word::Reattach => return self.reattach(),
        };
        self.since = None;
        self.redirects = 0;
        if let Incoming::Event(piece) = &answer {
            self.consume(piece.data.len());
        }
        if !self.is_standing() || self.kept.is_none() {
            (self.message, self.kept) = (None, None);
            return Some(answer);
        }
        if self.goes_on_nowhere(&answer) {
            return Some(Incoming::End(Head::default()));
        }
        self.delivered.is_news(&answer).then_some(answer)
    }

    /// Whether a GET's stream, which its client has, is refused at its new owner. The
    /// stream ends then: a refusal is for a request, and the client that asks anew
    /// gets it as the status of its reply.
    fn goes_on_nowhere(&self, answer: &Incoming) -> bool {
        let is_get = |message: &Routed| message.open.kind() == ExchangeKind::Stream;
        let Incoming::Event(Piece {
            head: Some(head), ..
        }) = answer
        else {
            return false;
        };
        head.status >= 400 && self.delivered.started() && self.message.as_ref().is_some_and(is_get)
    }

    fn is_standing(&self) -> bool {
        self.message
            .as_ref()
            .is_some_and(|message| message.standing)
    }

    /// The worker has not admitted the message.
    fn send_again(&mut self, away: &Misdirected) -> Option<Incoming> {
        let Place::At(at) = &self.place else {
            return None;
        };
        let sent = at.epoch;
        tracing::debug!(shard = away.shard, epoch = away.epoch, %sent, moving = away.moving, "sent away");
        if away.moving {
            return self.seek_or_end(None);
        }
        // The map came here first: its owner is about to serve in that very epoch.
        if away.epoch < sent.get() && self.may_move() {
            let sought = self.look(None, true);
            return sought.err().map(|problem| self.give_up(problem));
        }
        self.redirects += 1;
        if self.redirects > REDIRECTS {
            return Some(self.give_up(moving()));
        }
        self.board.metrics.redirects.inc();
        self.seek_or_end(Some(sent))
    }

    /// The stream's worker lets it go, between two messages.
    fn reattach(&mut self) -> Option<Incoming> {
        match self.is_standing() && !self.delivered.in_message() {
            true => self.seek_or_end(None),
            false => Some(Incoming::Lost(Loss::Worker)),
        }
    }

    /// The worker is lost with all it ran.
    fn lose(&mut self) -> Option<Incoming> {
        let Place::At(at) = &self.place else {
            return None;
        };
        let sent = at.epoch;
        match self.may_repeat() {
            false => Some(Incoming::Lost(Loss::Worker)),
            true if self.delivered.started() => self.seek_or_end(None),
            true => {
                self.count_attempt();
                self.seek_or_end(Some(sent))
            }
        }
    }

    /// Whether the message may be sent again after its worker was lost. Once
    /// only: it may be what the workers die of.
    fn may_repeat(&self) -> bool {
        let Some(message) = &self.message else {
            return false;
        };
        let first = message.open.attempt == 1 || self.delivered.started();
        let fit = first && self.kept.is_some() && !self.delivered.in_message();
        fit && self.may_move()
    }

    fn may_move(&self) -> bool {
        let message = self.message.as_ref();
        message.is_some_and(|message| self.board.may_move(message.shard))
    }

    fn count_attempt(&mut self) {
        if let Some(message) = &mut self.message {
            message.open.attempt += 1;
        }
    }

    fn seek_or_end(&mut self, after: Option<Epoch>) -> Option<Incoming> {
        self.seek(after).err().map(|problem| self.give_up(problem))
    }

    /// Looks for an owner, in an epoch above `after`.
    ///
    /// # Errors
    /// The refusal where it has looked for long enough, or too much waits already.
    fn seek(&mut self, after: Option<Epoch>) -> Result<(), Problem> {
        self.look(after, false)
    }

    /// As [`Self::seek`]; `behind`: in a moment, as the owner is not ready.
    fn look(&mut self, after: Option<Epoch>, behind: bool) -> Result<(), Problem> {
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        let patience = self.patience();
        let Some(message) = &mut self.message else {
            return Err(moving());
        };
        if now - since > patience.max(LOSS_WAIT) {
            return Err(moving());
        }
        // Streams are held here anyway; what is parked is what waits for an answer.
        let parked = match self.delivered.started() {
            true => None,
            false => {
                let parked = self.board.lot.park(message.shard, message.open.body.len());
                tracing::trace!(target: STEPS, step = "parked", shard = message.shard.get());
                Some(parked.ok_or_else(moving)?)
            }
        };
        self.delivered.go_on(&mut message.open);
        let seek = Seek {
            board: Arc::clone(&self.board),
            routed: message.clone(),
            after,
            behind,
            since,
            patience,
            parked,
        };
        let last = self.place.link().cloned();
        self.place = Place::Seeking(Box::pin(seek.run()), last);
        self.consumed = Consumed::default();
        Ok(())
    }

    /// How long it looks for an owner at least.
    fn patience(&self) -> Duration {
        match () {
            () if self.delivered.started() => STREAM_WAIT,
            () if self.was_lost() => LOSS_WAIT,
            () => Duration::ZERO,
        }
    }

    fn found(&mut self, found: Result<Attached, GaveUp>) -> Option<Incoming> {
        match found {
            Ok(at) => {
                self.place = Place::At(at);
                None
            }
            Err(GaveUp::Late(problem)) => Some(self.give_up(problem)),
            Err(GaveUp::Closing) if self.may_have_run() => Some(Incoming::Lost(Loss::Edge)),
            Err(GaveUp::Closing) => Some(Incoming::Refused(draining())),
        }
    }

    /// What a message comes to that found no owner.
    fn give_up(&self, problem: Problem) -> Incoming {
        match self.may_have_run() {
            true => Incoming::Lost(Loss::Worker),
            false => Incoming::Refused(problem),
        }
    }

    /// Whether a worker that is lost may have begun with the message.
    fn may_have_run(&self) -> bool {
        self.delivered.started() || self.was_lost()
    }

    fn was_lost(&self) -> bool {
        self.message
            .as_ref()
            .is_some_and(|message| message.open.attempt > 1)
    }

    fn consume(&mut self, bytes: usize) {
        let grant = self.consumed.add(bytes);
        if let (Some(grant), Place::At(at)) = (grant, &self.place) {
            at.link.grant(at.number, grant);
        }
    }

    fn end(&mut self) {
        let last = self.place.link().cloned();
        self.place = Place::Over(last);
        (self.message, self.kept) = (None, None);
    }

    /// What to tell the client when this exchange was lost.
    pub(crate) fn lost(&self, loss: Loss, may_have_run: bool) -> Problem {
        let link = self.place.link();
        link.map_or_else(draining, |link| link.lost(loss, may_have_run))
    }
}

fn moving() -> Problem {
    Problem::Moving {
        retry_after_ms: RETRY_AFTER_MS,
    }
}

/// This edge shuts down.
/// This edge begins nothing more.
pub(crate) fn draining() -> Problem {
    Problem::Draining {
        retry_after_ms: RETRY_AFTER_MS,
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Place::At(at) = &self.place {
            at.link.cancel(at.number);
        }
    }
}
