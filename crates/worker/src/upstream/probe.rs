//! Asking an upstream to describe itself before a client needs it.

use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderMap;
use hexagram_core::{Capabilities, Era, ProtocolVersion};
use hexagram_upstreams::EraSetting;
use tokio::time::Instant;

use super::era::{self, Spoken};
use super::http::HttpConnection;
use super::told_era::{in_told_era, told_modern};
use super::{Connection, Kind, ServerInfo, Upstream, UpstreamError};
use crate::facts::ClientFacts;
use crate::upstream::requests;

/// An upstream that failed is not asked again for this long: the clients of a
/// hanging one would wait in turn.
const MEMORY: Duration = Duration::from_secs(5);

/// A server that does not know `server/discover`, or `initialize`, may be
/// silent for this long before it is taken for one of the other era.
const DISCOVERY: Duration = Duration::from_secs(5);

/// What a list of tools may take that is asked for to count them.
const COUNTING: Duration = Duration::from_secs(5);

/// Why an upstream could not describe itself, and when and under which setting that was found.
#[derive(Debug)]
pub(super) struct Failure {
    error: UpstreamError,
    told: EraSetting,
    at: Instant,
}

impl Failure {
    fn now(error: UpstreamError, told: EraSetting) -> Self {
        let at = Instant::now();
        Self { error, told, at }
    }

    /// The error while it is fresh. What was found under another setting says nothing of this.
    fn recent(&self, told: EraSetting, now: Instant) -> Option<UpstreamError> {
        let is_recent = self.told == told && now.duration_since(self.at) < MEMORY;
        is_recent.then(|| self.error.clone())
    }
}

impl Upstream {
    /// What it says of itself: as of its last session, else asked now. All who
    /// ask at the same time share one answer.
    ///
    /// # Errors
    /// Why it cannot be asked, or could not within the last five seconds.
    pub async fn info(self: &Arc<Self>) -> Result<Arc<ServerInfo>, UpstreamError> {
        match self.known_info() {
            Some(info) => Ok(info),
            None => self.ask().await,
        }
    }

    /// Whether people could see more of it if it was visited.
    pub(crate) fn is_new(&self) -> bool {
        self.known_info().is_none() || self.is_uncounted()
    }

    /// A list of a child or of a handler is nobody's news. Where counting was tried in vain,
    /// it is left to those who ask for the list.
    fn is_uncounted(&self) -> bool {
        matches!(self.kind, Kind::Http(_)) && !self.was_counting_tried()
    }

    /// Whether it is down, nobody has tried it for at least `quiet`, and a visit would tell
    /// more. A command that has described itself is not asked: a child would be started for
    /// that, and what it is is known.
    pub(crate) fn is_to_be_revisited(&self, quiet: Duration) -> bool {
        let is_asked = matches!(self.kind, Kind::Http(_)) || self.known_info().is_none();
        is_asked && self.is_forsaken(quiet)
    }

    /// Visits it; what came of that where nothing was known of it before.
    pub(crate) async fn first_visit(
        self: &Arc<Self>,
    ) -> Option<(String, Result<Arc<ServerInfo>, UpstreamError>)> {
        let was_known = self.known_info().is_some();
        let visited = self.visit(false).await;
        (!was_known).then(|| (self.name().to_owned(), visited))
    }

    /// As [`Self::info`], and has its tools counted, so that people see more of one that no
    /// client has used yet. One that `is_down` is asked in any case.
    ///
    /// # Errors
    /// As [`Self::info`].
    pub(crate) async fn visit(
        self: &Arc<Self>,
        is_down: bool,
    ) -> Result<Arc<ServerInfo>, UpstreamError> {
        if is_down {
            self.unsettle();
        }
        self.ask_and(true).await
    }

    /// What it says of itself now, unless it was just asked.
    pub(super) async fn ask(self: &Arc<Self>) -> Result<Arc<ServerInfo>, UpstreamError> {
        self.ask_and(false).await
    }

    async fn ask_and(self: &Arc<Self>, counts: bool) -> Result<Arc<ServerInfo>, UpstreamError> {
        let this = Arc::clone(self);
        // A task of its own: who gives up leaves the answer to the others.
        tokio::spawn(async move { this.ask_in_turn(counts).await })
            .await
            .unwrap_or_else(|error| Err(UpstreamError::Unreachable(error.to_string())))
    }

    async fn ask_in_turn(self: &Arc<Self>, counts: bool) -> Result<Arc<ServerInfo>, UpstreamError> {
        let mut failure = self.probing.lock().await;
        if let Some(info) = self.known_info().filter(|_| !self.doubt.is_raised()) {
            // Somebody was faster, who needed no list.
            if counts && self.is_uncounted() {
                self.count_behind(None);
            }
            return Ok(info);
        }
        if let Some(error) = failure
            .as_ref()
            .and_then(|last| last.recent(self.told_era(), Instant::now()))
        {
            return Err(error);
        }
        let (told, asked) = self.probe_as_told(counts).await;
        self.doubt.settle();
        if let Err(error) = &asked {
            self.failed_probe(error);
        }
        let error = asked.as_ref().err().cloned();
        *failure = error.map(|error| Failure::now(error, told));
        asked
    }

    /// What it answers, and the setting under which it was asked: again, where that has changed
    /// meanwhile.
    async fn probe_as_told(
        self: &Arc<Self>,
        counts: bool,
    ) -> (EraSetting, Result<Arc<ServerInfo>, UpstreamError>) {
        loop {
            let told = self.told_era();
            let asked = self.probe(told, counts).await;
            if told == self.told_era() {
                return (told, asked);
            }
        }
    }

    async fn probe(
        self: &Arc<Self>,
        told: EraSetting,
        counts: bool,
    ) -> Result<Arc<ServerInfo>, UpstreamError> {
        match self.discover(told).await? {
            Some((spoken, info)) => {
                let spoken = self.with_sessions(told, spoken).await;
                self.describe(told, spoken, info);
                if counts {
                    self.count_behind(None);
                }
            }
            None => self.initialize(told, counts).await?,
        }
        self.known_info()
            .ok_or_else(|| UpstreamError::Garbage("it did not describe itself".to_owned()))
    }

    /// Asks in the modern era; `None` where the upstream does not speak it, or is said not to.
    async fn discover(
        &self,
        told: EraSetting,
    ) -> Result<Option<(Spoken, ServerInfo)>, UpstreamError> {
        let Kind::Http(target) = &self.kind else {
            return Ok(None);
        };
        if told == EraSetting::Legacy {
            return Ok(None);
        }
        let target = target.lock().clone();
        let limits = target.limits();
        let http = HttpConnection::stateless(target, HeaderMap::new());
        let connection = Connection::Http(http);
        let id = requests::fresh_id();
        let asked = connection.ask(&id, era::discover(&id));
        let patience = match told {
            EraSetting::Modern => limits.handshake,
            _ => limits.handshake.min(DISCOVERY),
        };
        let asked = tokio::time::timeout(patience, asked).await;
        match asked.unwrap_or(Err(UpstreamError::Silent(patience))) {
            Ok(answer) if told == EraSetting::Modern => told_modern(&answer).map(Some),
            Ok(answer) => Ok(era::discovered(&answer)),
            // There is no other way to ask it.
            Err(error) if told == EraSetting::Modern => Err(in_told_era(told, error)),
            // Nobody is there to be asked in another way.
            Err(error @ UpstreamError::Unreachable(_)) => Err(error),
            // A modern server that is busy or broken now is still a modern one.
            Err(error) if self.is_known_modern() && !is_refusal(&error) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// The official servers of both eras name their modern versions only, so
    /// whether such a one opens sessions too is tried out.
    async fn with_sessions(&self, told: EraSetting, spoken: Spoken) -> Spoken {
        let before = *self.spoken.borrow();
        if spoken != Spoken::Modern || told == EraSetting::Modern {
            return spoken;
        }
        let facts = probe_facts();
        match self.handshake(&facts, DISCOVERY).await {
            Ok((session, _)) => {
                session.close_behind();
                Spoken::Both
            }
            // It may be busy: what it was known for holds until it refuses.
            Err(error) if before == Spoken::Both && !is_refusal(&error) => Spoken::Both,
            Err(_) => Spoken::Modern,
        }
    }

    async fn initialize(
        self: &Arc<Self>,
        told: EraSetting,
        counts: bool,
    ) -> Result<(), UpstreamError> {
        let (session, result) = self.handshake(&probe_facts(), Duration::MAX).await?;
        if let Some(result) = result {
            let info = ServerInfo::from_initialize(&result);
            self.describe(told, Spoken::Legacy, info);
        }
        // A child would run on for it.
        match counts && matches!(self.kind, Kind::Http(_)) {
            true => self.count_behind(Some(session)),
            false => session.close_behind(),
        }
        Ok(())
    }

    /// Counts the tools, in this `session` if it takes one, which is ended. Nobody waits
    /// for it, and what comes of it is no sign of anything else.
    fn count_behind(self: &Arc<Self>, session: Option<Connection>) {
        self.tries_counting();
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let session = match session {
                None if !this.is_stateless_in(Era::Modern) => {
                    let opened = this.handshake(&probe_facts(), COUNTING).await;
                    opened.ok().map(|(session, _)| session)
                }
                session => session,
            };
            let counted = tokio::time::timeout(COUNTING, this.count_tools(session.as_ref())).await;
            if let Ok(Err(error)) = counted {
                tracing::debug!(upstream = this.name(), %error, "its tools were not counted");
            }
            if let Some(session) = session {
                session.close().await;
            }
        });
    }

    async fn count_tools(
        self: &Arc<Self>,
        session: Option<&Connection>,
    ) -> Result<(), UpstreamError> {
        let info = self.known_info();
        if info.is_none_or(|info| info.capabilities["tools"].is_null()) {
            self.has_tools(0);
            return Ok(());
        }
        let listed = match session {
            Some(session) => self.tools_on(session).await,
            None => Arc::clone(self).tools_without_session(probe_facts()).await,
        };
        listed.map(drop)
    }

    fn is_known_modern(&self) -> bool {
        *self.spoken.borrow() != Spoken::Legacy
    }
}

/// Whether a server of the legacy era may have refused `server/discover` so.
fn is_refusal(error: &UpstreamError) -> bool {
    matches!(
        error,
        UpstreamError::Refused {
            status: 400 | 404 | 405 | 406 | 415,
            ..
        }
    )
}

/// A client that can everything, so that the upstream shows all it has.
fn probe_facts() -> ClientFacts {
    ClientFacts {
        version: ProtocolVersion::LATEST_LEGACY,
        capabilities: Capabilities::all(),
        name: "hexagram".to_owned(),
        software_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_forgotten() {
        let failure = Failure::now(UpstreamError::SessionGone, EraSetting::Auto);
        let later = |wait| failure.recent(EraSetting::Auto, failure.at + wait);
        assert!(later(Duration::ZERO).is_some());
        assert!(later(MEMORY - Duration::from_millis(1)).is_some());
        assert!(later(MEMORY).is_none());
        let otherwise = failure.recent(EraSetting::Modern, failure.at);
        assert!(otherwise.is_none(), "it is told something else");
    }
}
