//! What a client sets for all that follows: log levels and subscriptions.

use hexagram_core::Era;
use hexagram_mcp::error::Problem;

use super::{Attempt, Forward};
use crate::levels::{bad_level, is_level, level};
use crate::upstream::Connection;
use crate::upstream::requests;

impl Forward<'_> {
    /// A log level holds for upstream sessions opened later too.
    ///
    /// # Errors
    /// The refusal where it cannot be recorded.
    pub(crate) async fn remember(&self) -> Result<(), Problem> {
        if self.method == "logging/setLevel"
            && let Some(level) = level(self.envelope)
        {
            let _setting = self.session.setting().await;
            let before = self.session.log_level();
            self.session.set_log_level(Some(&level));
            let recorded = self.record().await;
            if recorded.is_err() {
                self.session.set_log_level(before.as_deref());
            }
            return recorded;
        }
        Ok(())
    }

    /// Has what the client has set recorded, before it is acknowledged.
    ///
    /// # Errors
    /// The refusal where it cannot be.
    pub(super) async fn record(&self) -> Result<(), Problem> {
        let stored = self.session.record(&self.federation).await;
        self.host.acknowledge(stored)
    }

    /// A modern client asks for logs request by request.
    pub(super) fn wants_logs(&self) -> bool {
        self.call.era() == Era::Legacy || self.envelope.meta.log_level.is_some()
    }

    /// Sets the log level that a modern request names at a legacy upstream.
    pub(super) async fn set_log_level(&self, connection: &Connection) {
        if let Some(level) = &self.envelope.meta.log_level
            && is_level(level)
            && self.session.set_log_level(Some(level))
            && let Err(error) = requests::set_level(level).ask(connection).await
        {
            tracing::debug!(%error, "an upstream did not take a log level");
        }
    }

    /// What a legacy client sets for its session, where a modern upstream has
    /// none: it is kept here and said with every request.
    pub(super) fn answered_here(&self, attempt: &Attempt<'_>) -> Option<Result<(), Problem>> {
        if self.call.era() == Era::Modern || !attempt.is_across() {
            return None;
        }
        let on = match self.method {
            "logging/setLevel" => {
                return Some(level(self.envelope).map(drop).ok_or_else(bad_level));
            }
            "resources/subscribe" => true,
            "resources/unsubscribe" => false,
            _ => return None,
        };
        let uri = attempt.name.or(self.envelope.name.as_deref());
        let Some(uri) = uri else {
            let detail = format!("{}: uri must be a string", self.method);
            return Some(Err(Problem::InvalidParams { detail }));
        };
        let held = self
            .session
            .subscriptions
            .set(attempt.upstream.id(), uri, on);
        self.session.changed();
        Some(held.map_err(|detail| Problem::InvalidParams { detail }))
    }
}
