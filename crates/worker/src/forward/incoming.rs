//! A response as its client reads it.

use bytes::Bytes;
use hexagram_core::Era;
use hexagram_mcp::envelope::{Kind, scan};
use hexagram_mcp::error::Problem;
use http::StatusCode;

use super::{Attempt, Forward};
use crate::across::{self, modernized};
use crate::federation::Destination;
use crate::handles;
use crate::outlet::Outlet;
use crate::raw::error_code;
use crate::upstream::Upstream;

impl Forward<'_> {
    /// Answers the client with the upstream's response.
    pub(super) async fn conclude(
        &self,
        attempt: &Attempt<'_>,
        response: Bytes,
        outlet: Outlet<'_>,
    ) {
        let upstream = attempt.upstream;
        upstream.responded(&response);
        if self.note(upstream, &response)
            && let Err(problem) = self.record().await
        {
            return outlet.refuse(&problem).await;
        }
        let status = self.status(&response);
        let response = self.sealed(upstream, response);
        self.answer(attempt, response, status, outlet).await;
    }

    /// Ends the exchange with a response, as its client reads it.
    pub(super) async fn answer(
        &self,
        attempt: &Attempt<'_>,
        response: Bytes,
        status: StatusCode,
        outlet: Outlet<'_>,
    ) {
        match self.in_era(attempt, response) {
            Ok(response) => {
                let response = self.shown(attempt.upstream, response);
                outlet.conclude(response, status).await;
            }
            Err(problem) => outlet.refuse(&problem).await,
        }
    }

    /// The HTTP status of a reply that is this response alone.
    fn status(&self, response: &[u8]) -> StatusCode {
        match self.call.era() {
            Era::Modern => error_code(response).map_or(StatusCode::OK, Problem::modern_status),
            Era::Legacy => StatusCode::OK,
        }
    }

    /// Handles in place of the upstream's own words.
    fn sealed(&self, upstream: &Upstream, response: Bytes) -> Bytes {
        match self.call.era() {
            Era::Modern => {
                let (host, name) = (self.host, upstream.name());
                handles::seal(host, self.call, self.envelope, name, response)
            }
            Era::Legacy => response,
        }
    }

    /// Remembers what must be asked again of a new upstream session; whether there was
    /// anything.
    fn note(&self, upstream: &Upstream, response: &[u8]) -> bool {
        let on = match self.method {
            "resources/subscribe" => true,
            "resources/unsubscribe" => false,
            _ => return false,
        };
        let accepted = scan(response).is_ok_and(|response| response.kind == Kind::Response);
        let destination = self
            .federation
            .destination(self.method, self.envelope.name.as_deref());
        if let (true, Ok(Destination::One(_, inner))) = (accepted, destination)
            && let Some(uri) = inner.as_deref().or(self.envelope.name.as_deref())
        {
            // One beyond the limit holds as long as the upstream session does.
            if let Err(limit) = self.session.subscriptions.set(upstream.id(), uri, on) {
                tracing::debug!(limit, "a subscription is not remembered");
            }
            self.session.changed();
            return true;
        }
        false
    }

    /// The message as this client is to see it.
    pub(super) fn shown(&self, upstream: &Upstream, message: Bytes) -> Bytes {
        let message = self.federation.present(upstream, message);
        match self.federation.names_tasks(self.call.era()) {
            true => {
                let (sealer, name) = (&self.host.sealer, upstream.name());
                self.session.tasks.present(sealer, name, message)
            }
            false => message,
        }
    }

    /// The response with what the client's era requires.
    fn in_era(&self, attempt: &Attempt<'_>, response: Bytes) -> Result<Bytes, Problem> {
        if !attempt.is_across() {
            return Ok(response);
        }
        match self.call.era() {
            Era::Modern => Ok(modernized(&response, self.method)),
            Era::Legacy => across::to_legacy(response, self.method),
        }
    }
}
