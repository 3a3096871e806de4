//! Whether an upstream answers, as of the last time that somebody used it.
//! One that answers is not asked for this alone: legacy servers would have to open
//! a session.

use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;

use super::{Upstream, UpstreamError};

/// What is known of an upstream, as `/status` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UpstreamHealth {
    /// Whether it answered when it was last used; none before that.
    pub reachable: Option<bool>,
    /// For how many seconds this has been so.
    pub for_seconds: Option<u64>,
    /// `legacy`, `modern` or `both`.
    pub era: Option<&'static str>,
    /// Its own name and version.
    pub server: Option<String>,
    /// How many tools it has, as of the last list that was seen whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<ToolCount>,
    /// Why it last failed, also if it answers again.
    pub last_error: Option<LastError>,
}

/// How many tools an upstream listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ToolCount {
    /// So many.
    pub count: usize,
    /// How long ago that was.
    pub seconds_ago: u64,
}

/// A failure of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastError {
    /// What happened.
    pub error: String,
    /// How long ago that was.
    pub seconds_ago: u64,
}

/// An upstream's last signs of life and death.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<State>);

/// One that answered so lately is not away for a stream that found no connection: those of
/// calls are kept open, and new ones may be what it has no room for.
const FRESH: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct State {
    reachable: Option<(bool, Instant)>,
    answered: Option<Instant>,
    error: Option<(String, Instant)>,
    tools: Option<(usize, Instant)>,
    /// Whether they were ever to be counted.
    was_counting_tried: bool,
    /// When a list was looked at for their number.
    looked: Option<Instant>,
}

impl State {
    fn is(&mut self, reachable: bool) {
        if self.reachable.is_none_or(|(was, _)| was != reachable) {
            self.reachable = Some((reachable, Instant::now()));
        }
    }

    fn failed(&mut self, error: &UpstreamError, is_down: bool) {
        self.error = Some((error.to_string(), Instant::now()));
        if is_down {
            self.is(false);
        }
    }
}

impl Upstream {
    /// Notes that it answers.
    pub(crate) fn answered(&self) {
        let mut state = self.health.0.lock();
        state.is(true);
        state.answered = Some(Instant::now());
    }

    /// Whether somebody got an answer from it since then.
    pub(crate) fn has_answered_since(&self, since: Instant) -> bool {
        let answered = self.health.0.lock().answered;
        answered.is_some_and(|at| at >= since)
    }

    /// Notes why it could not be used.
    pub(crate) fn failed(&self, error: &UpstreamError) {
        self.health.0.lock().failed(error, error.is_outage());
    }

    /// Notes why a stream of it was not opened. Whatever but its absence may be of streams
    /// alone: calls go on.
    pub(crate) fn failed_stream(&self, error: &UpstreamError) {
        let answered = self.health.0.lock().answered;
        let is_serving = answered.is_some_and(|at| at.elapsed() < FRESH);
        if matches!(error, UpstreamError::Unreachable(_)) && !is_serving {
            self.failed(error);
        }
    }

    /// Notes why it did not say what it is. One that never did answers nobody, even where it
    /// only refused: its path or its key is wrong, or missing.
    pub(super) fn failed_probe(&self, error: &UpstreamError) {
        let mut state = self.health.0.lock();
        // Under the lock: who hears what it is meanwhile says after this that it answers.
        let is_unknown = self.known_info().is_none();
        state.failed(error, is_unknown || error.is_outage());
    }

    /// Notes how many tools it has.
    pub(crate) fn has_tools(&self, count: usize) {
        let mut state = self.health.0.lock();
        let now = Instant::now();
        (state.tools, state.looked) = (Some((count, now)), Some(now));
        state.was_counting_tried = true;
    }

    /// Notes that its tools are to be counted.
    pub(super) fn tries_counting(&self) {
        self.health.0.lock().was_counting_tried = true;
    }

    pub(super) fn was_counting_tried(&self) -> bool {
        self.health.0.lock().was_counting_tried
    }

    /// Notes that a list did not tell how many tools it has.
    pub(super) fn has_looked_at_tools(&self) {
        self.health.0.lock().looked = Some(Instant::now());
    }

    /// Whether a list was looked at for its tools' number less than `pause` ago.
    pub(super) fn just_looked_at_tools(&self, pause: Duration) -> bool {
        let looked = self.health.0.lock().looked;
        looked.is_some_and(|at| at.elapsed() < pause)
    }

    /// Its tools may be others: the next list is looked at.
    pub(super) fn may_have_other_tools(&self) {
        self.health.0.lock().looked = None;
    }

    /// Whether nobody has got an answer from it, or even tried to, for at least `quiet`.
    pub(crate) fn is_forsaken(&self, quiet: Duration) -> bool {
        let state = self.health.0.lock();
        let is_down = matches!(state.reachable, Some((false, _)));
        let tried = state.error.as_ref().map(|(_, at)| at.elapsed());
        is_down && tried.is_none_or(|ago| ago >= quiet)
    }

    /// What is known of it.
    pub(crate) fn health(&self) -> UpstreamHealth {
        let state = self.health.0.lock();
        let info = self.known_info();
        let text =
            |info: &serde_json::Value, member: &str| info[member].as_str().map(str::to_owned);
        let server = info.as_ref().and_then(|info| {
            let name = text(&info.server_info, "name")?;
            let version = text(&info.server_info, "version");
            Some(
                [Some(name), version]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
                    .join(" "),
            )
        });
        UpstreamHealth {
            reachable: state.reachable.map(|(reachable, _)| reachable),
            for_seconds: state.reachable.map(|(_, since)| since.elapsed().as_secs()),
            era: info.map(|_| self.spoken.borrow().name()),
            server,
            tools: state.tools.map(|(count, at)| ToolCount {
                count,
                seconds_ago: at.elapsed().as_secs(),
            }),
            last_error: state.error.as_ref().map(|(error, at)| LastError {
                error: error.clone(),
                seconds_ago: at.elapsed().as_secs(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::upstream;
    use super::*;

    fn down() -> UpstreamError {
        UpstreamError::Unreachable("refused".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_state_lasts_until_the_other_comes() {
        let upstream = upstream("http://127.0.0.1:1/mcp");
        assert_eq!(upstream.health(), UpstreamHealth::default());
        upstream.answered();
        tokio::time::advance(Duration::from_secs(5)).await;
        upstream.answered();
        let health = upstream.health();
        assert_eq!(
            (health.reachable, health.for_seconds),
            (Some(true), Some(5))
        );
        upstream.failed(&down());
        tokio::time::advance(Duration::from_secs(2)).await;
        let health = upstream.health();
        assert_eq!(
            (health.reachable, health.for_seconds),
            (Some(false), Some(2))
        );
        upstream.answered();
        let last = upstream.health().last_error.expect("it failed");
        assert_eq!(last.seconds_ago, 2);
        assert!(last.error.contains("refused"), "{last:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn only_one_that_is_down_and_that_nobody_tries_is_forsaken() {
        let quiet = Duration::from_secs(30);
        let upstream = upstream("http://127.0.0.1:1/mcp");
        assert!(!upstream.is_forsaken(quiet), "nobody has asked it yet");
        upstream.failed(&down());
        tokio::time::advance(quiet / 2).await;
        upstream.failed(&down());
        tokio::time::advance(quiet / 2).await;
        assert!(!upstream.is_forsaken(quiet), "somebody uses it");
        tokio::time::advance(quiet / 2).await;
        assert!(upstream.is_forsaken(quiet));
        upstream.answered();
        assert!(!upstream.is_forsaken(quiet));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_without_a_connection_tells_of_one_that_serves_nobody_else() {
        let upstream = upstream("http://127.0.0.1:1/mcp");
        upstream.answered();
        upstream.failed_stream(&down());
        assert_eq!(upstream.health().reachable, Some(true), "it serves calls");
        tokio::time::advance(FRESH).await;
        upstream.failed_stream(&UpstreamError::SessionGone);
        assert_eq!(upstream.health().reachable, Some(true), "it is there");
        upstream.failed_stream(&down());
        assert_eq!(upstream.health().reachable, Some(false));
    }

    #[tokio::test]
    async fn one_that_refuses_is_there() {
        let upstream = upstream("http://127.0.0.1:1/mcp");
        upstream.answered();
        upstream.failed(&UpstreamError::SessionGone);
        assert_eq!(upstream.health().reachable, Some(true));
        assert!(upstream.health().last_error.is_some());
    }
}
