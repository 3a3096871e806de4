//! A request and all that comes back for it, up to its response.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hexagram_core::Era;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Attempt, Forward};
use crate::list_cache::Asked;
use crate::outlet::Outlet;
use crate::raw::error_code;
use crate::relay::{Outgoing, Relayed, Translation};
use crate::session::{InFlight, RequestGuard};
use crate::upstream::{Connection, Incoming, UpstreamError};

/// A modern server's "header and body differ".
const HEADER_MISMATCH: i64 = -32020;

/// Why a request was not answered, and whether it had been sent.
pub(super) struct Failed {
    pub(super) error: UpstreamError,
    pub(super) sent: bool,
}

/// A request that an upstream has.
struct Sent {
    id: String,
    incoming: Incoming,
    connection: Arc<Connection>,
    cancelled: CancellationToken,
    // The page of a list that is asked for, where it may be kept.
    asked: Option<Asked>,
    _guard: Option<RequestGuard>,
}

fn unsent(error: UpstreamError) -> Failed {
    Failed { error, sent: false }
}

impl Forward<'_> {
    /// The response, once all before it was relayed; `None` where the client
    /// has cancelled. A call that was refused because its tool has changed is
    /// made once more.
    pub(super) async fn exchange(
        &self,
        attempt: &Attempt<'_>,
        outlet: &mut Outlet<'_>,
    ) -> Result<Option<Bytes>, Failed> {
        let begun = Instant::now();
        let response = self.once(attempt, outlet).await?;
        if !self.is_mismatch(attempt, response.as_ref()) {
            return Ok(response);
        }
        attempt.upstream.forget_tools(begun);
        self.once(attempt, outlet).await
    }

    /// Whether the headers that we have made for a legacy client are not what
    /// the tool asks for now.
    fn is_mismatch(&self, attempt: &Attempt<'_>, response: Option<&Bytes>) -> bool {
        let code = response.and_then(|response| error_code(response));
        attempt.is_across() && self.call.era() == Era::Legacy && code == Some(HEADER_MISMATCH)
    }

    async fn once(
        &self,
        attempt: &Attempt<'_>,
        outlet: &mut Outlet<'_>,
    ) -> Result<Option<Bytes>, Failed> {
        let sent = outlet.during(self.send(attempt)).await?;
        let response = self.relay(attempt, sent, outlet).await;
        response.map_err(|error| Failed { error, sent: true })
    }

    /// Opens the upstream session if need be and sends; once more on a new
    /// session when the upstream has forgotten the old one (it restarted).
    async fn send(&self, attempt: &Attempt<'_>) -> Result<Sent, Failed> {
        let connection = self.connection(attempt).await.map_err(unsent)?;
        if self.call.era() == Era::Modern && attempt.is_across() {
            self.set_log_level(&connection).await;
        }
        match self.send_on(attempt, &connection).await {
            Err(UpstreamError::SessionGone) => {
                self.session.forget(attempt.upstream, &connection).await;
                let connection = self.connection(attempt).await.map_err(unsent)?;
                self.send_on(attempt, &connection).await
            }
            other => other,
        }
        .map_err(|error| Failed { error, sent: true })
    }

    async fn send_on(
        &self,
        attempt: &Attempt<'_>,
        connection: &Arc<Connection>,
    ) -> Result<Sent, UpstreamError> {
        let Outgoing { id, body } = self.outgoing(attempt)?;
        let request = InFlight {
            connection: Arc::clone(connection),
            upstream_id: id.clone(),
            cancelled: CancellationToken::new(),
        };
        let cancelled = request.cancelled.clone();
        let asked = self.asked(attempt.upstream, self.envelope.cursor.as_deref());
        let guard = self.begin(request);
        let incoming = tokio::select! {
            incoming = connection.request(&id, body) => incoming?,
            // Leaving is how a modern upstream learns of it, before its reply begins too.
            () = cancelled.cancelled() => stream::pending().boxed(),
        };
        Ok(Sent {
            id,
            incoming,
            connection: Arc::clone(connection),
            cancelled,
            asked,
            _guard: guard,
        })
    }

    /// Makes the request cancellable: in the modern era by leaving, in a
    /// legacy session by its id.
    fn begin(&self, request: InFlight) -> Option<RequestGuard> {
        if self.call.era() == Era::Modern {
            *self.under_way.lock() = Some(request);
            return None;
        }
        let id = self.envelope.id.as_ref()?;
        Some(self.session.begin(id.as_str(), request))
    }

    async fn relay(
        &self,
        attempt: &Attempt<'_>,
        mut sent: Sent,
        outlet: &mut Outlet<'_>,
    ) -> Result<Option<Bytes>, UpstreamError> {
        let client_id = outlet.id().to_owned();
        let token = self.envelope.meta.progress_token.as_ref();
        let translation = Translation {
            upstream: attempt.upstream.name(),
            our_id: Some(&sent.id),
            client_id: Some(&client_id),
            client_token: token.map(|token| token.as_str()),
            era: self.call.era(),
            logs: self.wants_logs(),
        };
        loop {
            let message = tokio::select! {
                message = outlet.during(sent.incoming.next()) => message,
                () = sent.cancelled.cancelled() => return Ok(None),
            };
            match translation.translate(&message.unwrap_or_else(closed)?) {
                Relayed::Response(message) => {
                    if self.method == "tools/list" && self.envelope.cursor.is_none() {
                        attempt.upstream.heard_tools(&message);
                    }
                    if let Some(asked) = sent.asked {
                        attempt.upstream.keep_list(asked, &message);
                    }
                    return Ok(Some(message));
                }
                Relayed::Message(message) => {
                    outlet.event(self.shown(attempt.upstream, message)).await;
                }
                Relayed::Refuse(answer) => drop(sent.connection.send(answer).await),
                Relayed::Begin => outlet.prime().await,
                Relayed::Close => outlet.close().await,
                Relayed::Drop => {}
                Relayed::Garbage(detail) => return Err(UpstreamError::Garbage(detail)),
            }
        }
    }
}

fn closed() -> Result<Bytes, UpstreamError> {
    let detail = "it closed without a response".to_owned();
    Err(UpstreamError::Broken(detail))
}
