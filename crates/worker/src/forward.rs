//! Carries a client's requests to their upstream and the answers back.

mod again;
mod attempt;
mod exchange;
mod incoming;
mod outgoing;
mod settings;

#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use bytes::Bytes;
use hexagram_core::Era;
use hexagram_mcp::envelope::Envelope;
use hexagram_mcp::error::Problem;
use hexagram_mcp::handle;
use http::StatusCode;
use parking_lot::Mutex;

use crate::federation::{Destination, Federation};
use crate::handles::Opened;
use crate::host::{Call, Host};
use crate::levels::{bad_level, level};
use crate::outlet::Outlet;
use crate::reply::{Reply, response};
use crate::session::{InFlight, Session};
use crate::upstream::{Upstream, UpstreamError};
pub(crate) use again::outcome_unknown;
pub(crate) use attempt::Attempt;
use exchange::Failed;

/// One request on its way.
pub(crate) struct Forward<'a> {
    pub(crate) host: &'a Arc<Host>,
    /// As it was when the request came: its names mean that.
    pub(crate) federation: Arc<Federation>,
    pub(crate) call: &'a Call,
    pub(crate) session: &'a Arc<Session>,
    /// What to cancel at the upstream if the client leaves.
    pub(crate) under_way: &'a Mutex<Option<InFlight>>,
    pub(crate) body: &'a Bytes,
    pub(crate) opened: Option<&'a Opened>,
    pub(crate) envelope: &'a Envelope<'a>,
    pub(crate) method: &'a str,
}

impl Forward<'_> {
    /// Where it goes; a task's request goes to the upstream that made the task.
    pub(crate) fn destination(&self) -> Result<Destination, Problem> {
        let federation = &self.federation;
        if let Some(Opened { upstream, .. }) = self.opened
            && self.method.starts_with("tasks/")
        {
            let index = federation
                .index_of(upstream)
                .ok_or_else(|| handle::unknown(self.envelope, self.call.era()))?;
            return Ok(Destination::One(index, None));
        }
        let merged = federation.single().is_none();
        let lists = self.method == "tasks/list" && self.call.era() == Era::Legacy;
        if merged && self.method.starts_with("tasks/") && !lists {
            return Err(handle::unknown(self.envelope, self.call.era()));
        }
        federation.destination(self.method, self.envelope.name.as_deref())
    }

    /// Sends the request to one upstream and relays all that comes back.
    pub(crate) async fn one(&self, index: usize, name: Option<&str>, reply: Reply) {
        let attempt = self.attempt(self.federation.get(index), name).await;
        if self.method == "logging/setLevel" && level(self.envelope).is_none() {
            return reply.refuse(&bad_level());
        }
        if let Some(answer) = self.answered_here(&attempt) {
            return match self.record().await.and(answer) {
                Ok(()) => reply.finish(response(self.raw_id(), b"{}")).await,
                Err(problem) => reply.refuse(&problem),
            };
        }
        if let Err(problem) = self.check_params(attempt.upstream) {
            return reply.refuse(&problem);
        }
        if let Some(result) = self.listed(attempt.upstream) {
            self.call.opening.end();
            let listed = response(self.raw_id(), &result);
            let outlet = Outlet::new(self.session, self.call, reply);
            return self.answer(&attempt, listed, StatusCode::OK, outlet).await;
        }
        let _under_way = self.federation.start(index);
        let mut outlet = Outlet::new(self.session, self.call, reply);
        match self.exchange(&attempt, &mut outlet).await {
            Ok(Some(response)) => self.conclude(&attempt, response, outlet).await,
            Ok(None) => outlet.end_unanswered().await,
            Err(Failed { error, sent }) => {
                let problem = self.problem(attempt.upstream, &error, sent);
                outlet.refuse(&problem).await;
            }
        }
    }

    /// A modern call's headers must say what its arguments say (SEP-2243).
    fn check_params(&self, upstream: &Upstream) -> Result<(), Problem> {
        if self.call.era() == Era::Legacy || self.method != "tools/call" {
            return Ok(());
        }
        Ok(upstream.check_params(self.envelope, &self.call.params)?)
    }

    /// The error for the client. Reading again does no harm, so only a call's
    /// outcome can be in doubt.
    pub(crate) fn problem(
        &self,
        upstream: &Upstream,
        error: &UpstreamError,
        sent: bool,
    ) -> Problem {
        let told = upstream.explained(error);
        tracing::warn!(upstream = upstream.name(), error = %told, method = self.method, "upstream failed");
        self.federation.count_failure(upstream, &told);
        match error {
            UpstreamError::Refused {
                status: 400 | 404 | 405,
                ..
            } => upstream.unsettle(),
            UpstreamError::Answered(response) => upstream.responded(response),
            _ => {}
        }
        told.problem(upstream.name(), sent && self.method == "tools/call")
    }

    fn raw_id(&self) -> &str {
        self.envelope.id.as_ref().map_or("null", |id| id.as_str())
    }
}
