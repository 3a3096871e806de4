//! A response as its client reads it.

use bytes::Bytes;
use hexagram_core::Era;
use hexagram_mcp::envelope::{Kind, scan};
use hexagram_mcp::error::Problem;
use http::StatusCode;

use super::Forward;
use crate::across::{self, modernized};
use crate::federation::Destination;
use crate::handles;
use crate::raw::error_code;
use crate::upstream::Upstream;

/// A modern server's "header and body differ".
const HEADER_MISMATCH: i64 = -32020;

impl Forward<'_> {
    /// The HTTP status of a reply that is this response alone.
    pub(super) fn status(&self, response: &[u8]) -> StatusCode {
        match self.call.era() {
            Era::Modern => error_code(response).map_or(StatusCode::OK, Problem::modern_status),
            Era::Legacy => StatusCode::OK,
        }
    }

    /// A sealed request state in place of the upstream's own.
    pub(super) fn sealed(&self, upstream: &Upstream, response: Bytes) -> Bytes {
        match self.call.era() {
            Era::Modern => {
                let (host, name) = (self.host, upstream.name());
                handles::seal(host, self.call, self.envelope, name, response)
            }
            Era::Legacy => response,
        }
    }

    /// Remembers what must be asked again of a new upstream session.
    pub(super) fn note(&self, upstream: &Upstream, response: &[u8]) {
        let on = match self.method {
            "resources/subscribe" => true,
            "resources/unsubscribe" => false,
            _ => return,
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
        }
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
    pub(super) async fn in_era(
        &self,
        upstream: &Upstream,
        message: Bytes,
    ) -> Result<Bytes, Problem> {
        if !self.is_across(upstream) {
            return Ok(message);
        }
        match self.call.era() {
            Era::Modern => Ok(modernized(&message, self.method)),
            Era::Legacy => {
                if error_code(&message) == Some(HEADER_MISMATCH) {
                    upstream.forget_schemas().await;
                }
                across::to_legacy(message, self.method)
            }
        }
    }
}
