//! Carries a client's requests to their upstream and the answers back.

mod incoming;
mod outgoing;
mod settings;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hexagram_core::Era;
use hexagram_mcp::envelope::Envelope;
use hexagram_mcp::error::Problem;
use hexagram_mcp::handle;
use http::StatusCode;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::federation::{Destination, Federation};
use crate::handles::Opened;
use crate::host::{Call, Host};
use crate::levels::{bad_level, level};
use crate::list_cache::Asked;
use crate::outlet::Outlet;
use crate::raw::error_code;
use crate::relay::{Outgoing, Relayed, Translation};
use crate::reply::{Reply, response};
use crate::session::{InFlight, RequestGuard, Session};
use crate::upstream::{Connection, Incoming, Upstream, UpstreamError};

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

/// Why a request was not answered, and whether it had been sent.
struct Failed {
    error: UpstreamError,
    sent: bool,
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
        let upstream = self.federation.get(index);
        upstream.settle().await;
        if self.method == "logging/setLevel" && level(self.envelope).is_none() {
            return reply.refuse(&bad_level());
        }
        if let Some(answer) = self.answered_here(upstream, name) {
            return match answer {
                Ok(()) => reply.finish(response(self.raw_id(), b"{}")).await,
                Err(problem) => reply.refuse(&problem),
            };
        }
        if let Err(problem) = self.check_params(upstream) {
            return reply.refuse(&problem);
        }
        if let Some(result) = self.listed(upstream) {
            let message = response(self.raw_id(), &result);
            return self
                .answer(
                    upstream,
                    message,
                    StatusCode::OK,
                    Outlet::new(self.session, self.call, reply),
                )
                .await;
        }
        let _under_way = self.federation.start(index);
        let mut outlet = Outlet::new(self.session, self.call, reply);
        match outlet.during(self.send(upstream, name)).await {
            Ok(sent) => self.relay(upstream, sent, outlet).await,
            Err(Failed { error, sent }) => {
                outlet.refuse(&self.problem(upstream, &error, sent)).await;
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
        tracing::warn!(upstream = upstream.name(), %error, method = self.method, "upstream failed");
        self.federation.count_failure(upstream, error);
        if matches!(
            error,
            UpstreamError::Refused {
                status: 400 | 404 | 405,
                ..
            }
        ) {
            upstream.unsettle();
        }
        error.problem(upstream.name(), sent && self.method == "tools/call")
    }

    fn raw_id(&self) -> &str {
        self.envelope.id.as_ref().map_or("null", |id| id.as_str())
    }

    /// Whether the upstream is spoken to in another era than the client's.
    pub(crate) fn is_across(&self, upstream: &Upstream) -> bool {
        upstream.era_for(self.call.era()) != self.call.era()
    }

    /// Opens the upstream session if need be and sends; once more on a new
    /// session when the upstream has forgotten the old one (it restarted).
    async fn send(&self, upstream: &Arc<Upstream>, name: Option<&str>) -> Result<Sent, Failed> {
        let unsent = |error| Failed { error, sent: false };
        let connection = self.connection(upstream, name).await.map_err(unsent)?;
        if self.call.era() == Era::Modern && self.is_across(upstream) {
            self.set_log_level(&connection).await;
        }
        match self.send_on(upstream, &connection, name).await {
            Err(UpstreamError::SessionGone) => {
                self.session.forget(upstream, &connection).await;
                let connection = self.connection(upstream, name).await;
                self.send_on(upstream, &connection.map_err(unsent)?, name)
                    .await
            }
            other => other,
        }
        .map_err(|error| Failed { error, sent: true })
    }

    async fn send_on(
        &self,
        upstream: &Upstream,
        connection: &Arc<Connection>,
        name: Option<&str>,
    ) -> Result<Sent, UpstreamError> {
        let Outgoing { id, body } = self.outgoing(upstream, name)?;
        let request = InFlight {
            connection: Arc::clone(connection),
            upstream_id: id.clone(),
            cancelled: CancellationToken::new(),
        };
        let cancelled = request.cancelled.clone();
        let asked = self.asked(upstream, self.envelope.cursor.as_deref());
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

    /// Ends the exchange with an upstream's response, as its client reads it.
    async fn answer(
        &self,
        upstream: &Upstream,
        response: Bytes,
        status: StatusCode,
        reply: Outlet<'_>,
    ) {
        match self.in_era(upstream, response).await {
            Ok(message) => reply.conclude(self.shown(upstream, message), status).await,
            Err(problem) => reply.refuse(&problem).await,
        }
    }

    async fn relay(&self, upstream: &Upstream, mut sent: Sent, mut reply: Outlet<'_>) {
        let client_id = reply.id().to_owned();
        let token = self.envelope.meta.progress_token.as_ref();
        let translation = Translation {
            upstream: upstream.name(),
            our_id: Some(&sent.id),
            client_id: Some(&client_id),
            client_token: token.map(|token| token.as_str()),
            era: self.call.era(),
            logs: self.wants_logs(),
        };
        loop {
            let closed = || {
                Err(UpstreamError::Broken(
                    "it closed without a response".to_owned(),
                ))
            };
            let message = tokio::select! {
                message = reply.during(sent.incoming.next()) => message.unwrap_or_else(closed),
                () = sent.cancelled.cancelled() => return reply.end_unanswered().await,
            };
            let message = match message {
                Ok(message) => message,
                Err(error) => return reply.refuse(&self.problem(upstream, &error, true)).await,
            };
            match translation.translate(&message) {
                Relayed::Response(message) => {
                    upstream.answered();
                    self.note(upstream, &message);
                    if error_code(&message) == Some(UNSUPPORTED_VERSION) {
                        upstream.unsettle();
                    }
                    if let Some(asked) = sent.asked {
                        upstream.keep_list(asked, &message);
                    }
                    let status = self.status(&message);
                    let message = self.sealed(upstream, message);
                    return self.answer(upstream, message, status, reply).await;
                }
                Relayed::Message(message) => {
                    reply.event(self.shown(upstream, message)).await;
                }
                Relayed::Refuse(answer) => drop(sent.connection.send(answer).await),
                Relayed::Begin => reply.prime().await,
                Relayed::Close => reply.close().await,
                Relayed::Drop => {}
                Relayed::Garbage(detail) => {
                    let error = UpstreamError::Garbage(detail);
                    return reply.refuse(&self.problem(upstream, &error, true)).await;
                }
            }
        }
    }
}

/// "This protocol version is not spoken here": another server than before.
const UNSUPPORTED_VERSION: i64 = -32022;

/// A request that an upstream has.
struct Sent {
    id: String,
    incoming: Incoming,
    connection: Arc<Connection>,
    cancelled: CancellationToken,
    asked: Option<Asked>,
    _guard: Option<RequestGuard>,
}
