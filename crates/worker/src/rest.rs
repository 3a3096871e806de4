//! What a stream of an upstream that ended waits for before it is opened again.

#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use hexagram_runtime::random::{jittered, up_to};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::pause::{Growth, LAST_REOPEN};
use crate::upstream::Upstream;

/// How often is looked whether an upstream is back that others ask.
const LOOK: Duration = Duration::from_secs(2);
/// Within this time the streams of one that is back are opened: not all at once, it may have
/// just started.
const SPREAD: Duration = Duration::from_secs(5);
/// After so long a stream asks for itself: what others ask may fail for reasons of theirs.
const LONGEST: Duration = Duration::from_secs(300);

/// The pauses of one stream that is opened again whenever it ends: ever longer ones, until
/// it has lived for long.
#[derive(Debug, Default)]
pub(crate) struct Pauses(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    growth: Growth,
    /// Since when the stream is open, where it is.
    since: Option<Instant>,
    /// How long it was open since the last pause.
    lived: Duration,
    /// The same before that.
    before: Duration,
}

impl State {
    fn living(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn end(&mut self) {
        self.lived += self.living();
        self.since = None;
    }

    fn pause(&mut self) -> Duration {
        let lived = std::mem::take(&mut self.lived);
        self.before += lived;
        self.growth.pause(lived)
    }

    fn successor(&self) -> Self {
        let lived = self.before + self.lived + self.living();
        Self {
            growth: self.growth.successor(lived),
            ..Self::default()
        }
    }
}

/// An open stream; dropped, it is over.
pub(crate) struct Living<'a>(&'a Pauses);

impl Drop for Living<'_> {
    fn drop(&mut self) {
        self.0.0.lock().end();
    }
}

impl Pauses {
    /// The stream is open until what this gives is dropped. That alone is its life: a pause
    /// is none, however long it takes.
    pub(crate) fn living(&self) -> Living<'_> {
        self.0.lock().since = Some(Instant::now());
        Living(self)
    }

    /// The stream does its work: the next pause is a short one.
    pub(crate) fn begin_anew(&self) {
        self.0.lock().growth.begin_anew();
    }

    /// The upstream session that the stream belongs to is over, and no waiting gives it back:
    /// the next pause is no longer than this session's first one.
    pub(crate) fn lose_session(&self) {
        self.0.lock().growth.lose_session();
    }

    /// Those of the stream that takes this one's place: an upstream that keeps losing its
    /// sessions is asked ever less often.
    pub(crate) fn successor(&self) -> Self {
        Self(Mutex::new(self.0.lock().successor()))
    }

    /// Waits before the stream is opened again. An upstream that stays away is asked once
    /// for all streams ([`crate::revisit`]), and not for each of them.
    pub(crate) async fn rest(&self, upstream: &Upstream) {
        let pause = self.0.lock().pause();
        if pause < LAST_REOPEN || !is_away(upstream) {
            return sleep(jittered(pause)).await;
        }
        let since = Instant::now();
        // Between two looks it may have answered one and failed another.
        let is_silent = || is_away(upstream) && !upstream.has_answered_since(since);
        while is_silent() && since.elapsed() < LONGEST {
            sleep(jittered(LOOK)).await;
        }
        sleep(up_to(SPREAD)).await;
    }
}

/// Whether it is known to be away, and is asked for all; one that is served no more is not.
fn is_away(upstream: &Upstream) -> bool {
    upstream.is_to_be_revisited(Duration::ZERO) && !upstream.is_retired()
}
