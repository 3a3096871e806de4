//! Calls that a lost worker may have run already: whether they may run here.

use std::sync::Arc;

use hexagram_core::Era;
use hexagram_mcp::error::Problem;
use hexagram_upstreams::Retry;

use super::Forward;
use super::outgoing::modern_facts;
use crate::federation::Destination;
use crate::merged::PATIENCE;
use crate::upstream::{Asker, Upstream, UpstreamError};

impl Forward<'_> {
    /// Refuses a call that may have run already, unless its tool declares that it
    /// may run twice. All other requests may: they read, or say again what holds.
    ///
    /// # Errors
    /// "Outcome unknown", also where the tool cannot be asked about in time.
    pub(crate) async fn check_repeated(&self) -> Result<(), Problem> {
        if !self.call.repeated || self.method != "tools/call" {
            return Ok(());
        }
        match self.may_run_twice().await {
            true => Ok(()),
            false => Err(outcome_unknown()),
        }
    }

    async fn may_run_twice(&self) -> bool {
        let Ok(Destination::One(index, inner)) = self.destination() else {
            return false;
        };
        let upstream = self.federation.get(index);
        let Some(tool) = inner.as_deref().or(self.envelope.name.as_deref()) else {
            return false;
        };
        if upstream.retry() == Retry::Never {
            return false;
        }
        let declared = tokio::time::timeout(PATIENCE, self.declares(upstream, tool)).await;
        match declared.unwrap_or(Err(UpstreamError::Silent(PATIENCE))) {
            Ok(declared) => declared,
            Err(error) => {
                tracing::warn!(upstream = upstream.name(), %error, tool, "not known whether the tool may run twice");
                self.federation.count_failure(upstream, &error);
                false
            }
        }
    }

    async fn declares(&self, upstream: &Arc<Upstream>, tool: &str) -> Result<bool, UpstreamError> {
        let attempt = self.attempt(upstream, None).await;
        let asker = match (attempt.era, self.call.era()) {
            (Era::Legacy, _) => Asker::Session(Arc::clone(self.session)),
            (Era::Modern, Era::Legacy) => Asker::Client(self.session.facts.clone()),
            (Era::Modern, Era::Modern) => {
                Asker::Client(modern_facts(self.call.version, self.envelope))
            }
        };
        upstream.may_run_twice(tool, asker).await
    }
}

/// The refusal of a call that may have run where its worker was lost.
pub(crate) fn outcome_unknown() -> Problem {
    Problem::OutcomeUnknown {
        detail: "the worker was lost while the call ran".to_owned(),
        upstream: None,
    }
}
