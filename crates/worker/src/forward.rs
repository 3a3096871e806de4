//! Carries a client's requests to their upstream and the answers back.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hexagram_core::{Era, ProtocolVersion};
use hexagram_mcp::client::capability_bits;
use hexagram_mcp::envelope::{Envelope, Kind, scan};
use hexagram_mcp::error::Problem;
use hexagram_mcp::{handle, splice};
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::across::{self, modernized};
use crate::facts::ClientFacts;
use crate::federation::Destination;
use crate::handles::{self, Opened};
use crate::host::{Call, Host};
use crate::listen;
use crate::outlet::Outlet;
use crate::raw::RawObject;
use crate::relay::{Outgoing, Relayed, Translation, outgoing};
use crate::reply::{Reply, response};
use crate::requests;
use crate::session::{InFlight, RequestGuard, Session};
use crate::upstream::{Connection, Incoming, Upstream, UpstreamError};

/// Answers one request from the upstreams.
pub(crate) async fn request(host: Arc<Host>, call: Call, reply: Reply) {
    let flow = Arc::clone(reply.flow());
    let Some(session) = host.session(&call) else {
        return reply.refuse(&Problem::SessionNotFound);
    };
    let under_way = Mutex::new(None);
    let work = route(&host, &call, &session, &under_way, reply);
    if call.era() == Era::Legacy {
        // A disconnect is no cancellation there; the end of the session is.
        tokio::pin!(work);
        tokio::select! {
            biased;
            () = session.deleted() => flow.revoke(),
            () = &mut work => {}
        }
        return session.touch();
    }
    tokio::pin!(work);
    tokio::select! {
        () = &mut work => {}
        () = flow.left() => {
            let request = under_way.lock().take();
            cancelled(request).await;
        }
    }
    session.touch();
    if call.once {
        session.close().await;
    }
}

/// A modern client that left has cancelled; its upstream is told.
async fn cancelled(under_way: Option<InFlight>) {
    let Some(request) = under_way else {
        return;
    };
    let id = request.upstream_id;
    let params = format!(r#"{{"requestId":{id},"reason":"the client left"}}"#);
    let body =
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{params}}}"#);
    if let Err(error) = request.connection.send(Bytes::from(body)).await {
        tracing::debug!(%error, "an upstream was not told of a cancellation");
    }
}

async fn route(
    host: &Arc<Host>,
    call: &Call,
    session: &Arc<Session>,
    under_way: &Mutex<Option<InFlight>>,
    reply: Reply,
) {
    let opened = match open_handle(host, call) {
        Ok(opened) => opened,
        Err(problem) => return reply.refuse(&problem),
    };
    let (body, opened) = match opened {
        Some((body, opened)) => (body, Some(opened)),
        None => (call.body.clone(), None),
    };
    let Ok(envelope) = scan(&body) else {
        return reply.refuse(&Problem::Internal);
    };
    let method = envelope.method.as_deref().unwrap_or_default();
    let forward = Forward {
        host,
        call,
        session,
        under_way,
        body: &body,
        opened: opened.as_ref(),
        envelope: &envelope,
        method,
    };
    if method == "subscriptions/listen" && call.era() == Era::Modern {
        return listen::run(&forward, reply).await;
    }
    forward.remember();
    match forward.destination() {
        Ok(Destination::One(index, name)) => forward.one(index, name.as_deref(), reply).await,
        Ok(Destination::Merge(member)) => forward.merged(member, reply).await,
        Ok(Destination::Everywhere) => forward.everywhere(reply).await,
        Err(problem) => reply.refuse(&problem),
    }
}

/// The request in its upstream's own words, where it holds a handle.
fn open_handle(host: &Host, call: &Call) -> Result<Option<(Bytes, Opened)>, Problem> {
    if call.era() == Era::Legacy {
        return Ok(None);
    }
    // The body was scanned when it was admitted.
    let envelope = scan(&call.body).map_err(|_| Problem::Internal)?;
    let opened = handles::open(host, call, &envelope)?;
    Ok(opened.map(|opened| {
        let body = handles::restore(&call.body, &envelope, &opened);
        (body, opened)
    }))
}

/// One request on its way.
pub(crate) struct Forward<'a> {
    pub(crate) host: &'a Arc<Host>,
    pub(crate) call: &'a Call,
    pub(crate) session: &'a Arc<Session>,
    /// What to cancel at the upstream if the client leaves.
    under_way: &'a Mutex<Option<InFlight>>,
    pub(crate) body: &'a Bytes,
    opened: Option<&'a Opened>,
    pub(crate) envelope: &'a Envelope<'a>,
    pub(crate) method: &'a str,
}

/// Why a request was not answered, and whether it had been sent.
struct Failed {
    error: UpstreamError,
    sent: bool,
}

impl Forward<'_> {
    /// A log level holds for upstream sessions opened later too.
    fn remember(&self) {
        if self.method == "logging/setLevel"
            && let Some(level) = level(self.envelope)
        {
            self.session.set_log_level(&level);
        }
    }

    /// Where it goes; a task's request goes to the upstream that made the task.
    fn destination(&self) -> Result<Destination, Problem> {
        let federation = &self.host.federation;
        if let Some(Opened { upstream, .. }) = self.opened
            && self.method.starts_with("tasks/")
        {
            let index = federation
                .index_of(upstream)
                .ok_or_else(|| handle::unknown(self.envelope))?;
            return Ok(Destination::One(index, None));
        }
        federation.destination(self.method, self.envelope.name.as_deref())
    }

    /// Sends the request to one upstream and relays all that comes back.
    async fn one(&self, index: usize, name: Option<&str>, reply: Reply) {
        let upstream = self.host.federation.get(index);
        upstream.settle().await;
        if let Some(answer) = self.answered_here(index, upstream, name) {
            return match answer {
                Ok(()) => reply.finish(response(self.raw_id(), b"{}")).await,
                Err(problem) => reply.refuse(&problem),
            };
        }
        if let Err(problem) = self.check_params(upstream) {
            return reply.refuse(&problem);
        }
        let _under_way = self.host.meter(index).start();
        let mut outlet = Outlet::new(self.session, self.call, reply);
        match outlet.during(self.send(index, upstream, name)).await {
            Ok(sent) => self.relay(index, upstream, sent, outlet).await,
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
        self.host.count_failure(upstream, error);
        if matches!(
            error,
            UpstreamError::Refused {
                status: 400..=499,
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

    /// What a legacy client sets for its session, where a modern upstream has
    /// none: it is kept here and said with every request.
    fn answered_here(
        &self,
        index: usize,
        upstream: &Upstream,
        name: Option<&str>,
    ) -> Option<Result<(), Problem>> {
        if self.call.era() == Era::Modern || !self.is_across(upstream) {
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
        let uri = name.or(self.envelope.name.as_deref());
        let Some(uri) = uri else {
            let detail = format!("{}: uri must be a string", self.method);
            return Some(Err(Problem::InvalidParams { detail }));
        };
        self.session.subscriptions.set(index, uri, on);
        Some(Ok(()))
    }

    /// Opens the upstream session if need be and sends; once more on a new
    /// session when the upstream has forgotten the old one (it restarted).
    async fn send(
        &self,
        index: usize,
        upstream: &Arc<Upstream>,
        name: Option<&str>,
    ) -> Result<Sent, Failed> {
        let unsent = |error| Failed { error, sent: false };
        let connection = self
            .connection(index, upstream, name)
            .await
            .map_err(unsent)?;
        if self.call.era() == Era::Modern && self.is_across(upstream) {
            self.set_log_level(&connection).await;
        }
        match self.send_on(upstream, &connection, name).await {
            Err(UpstreamError::SessionGone) => {
                self.session.forget(index, &connection).await;
                let connection = self.connection(index, upstream, name).await;
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
            _guard: guard,
        })
    }

    fn outgoing(&self, upstream: &Upstream, name: Option<&str>) -> Result<Outgoing, UpstreamError> {
        let out = self.translated(name)?;
        let body = match (self.is_across(upstream), self.call.era()) {
            (false, _) => out.body,
            (true, Era::Legacy) => self.to_modern(&out.body)?,
            (true, Era::Modern) => across::request_to_legacy(out.body),
        };
        Ok(Outgoing { body, ..out })
    }

    /// The request under our id, and under the name that its upstream knows.
    fn translated(&self, name: Option<&str>) -> Result<Outgoing, UpstreamError> {
        let id = self.call.shard.upstream_id();
        let Some(name) = name else {
            return Ok(outgoing(&id, self.body, self.envelope));
        };
        let body = splice::with_name(self.body, self.envelope, name);
        let envelope = scan(&body).map_err(|error| UpstreamError::Garbage(error.to_string()))?;
        Ok(outgoing(&id, &body, &envelope))
    }

    /// A legacy client's request as a modern upstream reads it.
    pub(crate) fn to_modern(&self, body: &[u8]) -> Result<Bytes, UpstreamError> {
        let level = self.session.log_level();
        across::to_modern(body, &self.session.facts, level.as_deref())
            .ok_or_else(|| UpstreamError::Garbage("the request is no object".to_owned()))
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

    /// The client's session with the upstream, or a fresh one for this request
    /// where the upstream needs none.
    pub(crate) async fn connection(
        &self,
        index: usize,
        upstream: &Arc<Upstream>,
        name: Option<&str>,
    ) -> Result<Arc<Connection>, UpstreamError> {
        if !upstream.is_stateless_in(self.call.era()) {
            return self.session.connection(index, upstream).await;
        }
        let connection = match self.call.era() {
            Era::Modern => {
                let facts = modern_facts(self.call.version, self.envelope);
                upstream.open_stateless(&facts, self.call.params.clone())
            }
            Era::Legacy => {
                let params = self.mirrored(upstream, name).await?;
                upstream.open_stateless(&self.session.facts, params)
            }
        };
        connection.map(Arc::new)
    }

    /// A legacy client's arguments, mirrored as a modern upstream wants them.
    async fn mirrored(
        &self,
        upstream: &Upstream,
        name: Option<&str>,
    ) -> Result<HeaderMap, UpstreamError> {
        let tool = name.or(self.envelope.name.as_deref());
        match tool.filter(|_| self.method == "tools/call") {
            Some(tool) => {
                let facts = &self.session.facts;
                upstream.mirrored(tool, self.envelope, facts).await
            }
            None => Ok(HeaderMap::new()),
        }
    }

    async fn relay(
        &self,
        index: usize,
        upstream: &Upstream,
        mut sent: Sent,
        mut reply: Outlet<'_>,
    ) {
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
                    self.note(index, &message);
                    if error_code(&message) == Some(UNSUPPORTED_VERSION) {
                        upstream.unsettle();
                    }
                    let status = self.status(&message);
                    let message = self.sealed(upstream, message);
                    return match self.in_era(upstream, message).await {
                        Ok(message) => reply.conclude(self.shown(index, message), status).await,
                        Err(problem) => reply.refuse(&problem).await,
                    };
                }
                Relayed::Message(message) => {
                    reply.event(self.shown(index, message)).await;
                }
                Relayed::Refuse(answer) => drop(sent.connection.send(answer).await),
                Relayed::Close => reply.close().await,
                Relayed::Drop => {}
                Relayed::Garbage(detail) => {
                    let error = UpstreamError::Garbage(detail);
                    return reply.refuse(&self.problem(upstream, &error, true)).await;
                }
            }
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
                let from = (name, self.opened);
                handles::seal(host, self.call, self.envelope, from, response)
            }
            Era::Legacy => response,
        }
    }

    /// A modern client asks for logs request by request.
    fn wants_logs(&self) -> bool {
        self.call.era() == Era::Legacy || self.envelope.meta.log_level.is_some()
    }

    /// Sets the log level that a modern request names at a legacy upstream.
    async fn set_log_level(&self, connection: &Connection) {
        if let Some(level) = &self.envelope.meta.log_level
            && self.session.set_log_level(level)
            && let Err(error) = requests::set_level(level).ask(connection).await
        {
            tracing::debug!(%error, "an upstream did not take a log level");
        }
    }

    /// Remembers what must be asked again of a new upstream session.
    fn note(&self, index: usize, response: &[u8]) {
        let on = match self.method {
            "resources/subscribe" => true,
            "resources/unsubscribe" => false,
            _ => return,
        };
        let accepted = scan(response).is_ok_and(|response| response.kind == Kind::Response);
        let destination = self
            .host
            .federation
            .destination(self.method, self.envelope.name.as_deref());
        if let (true, Ok(Destination::One(_, inner))) = (accepted, destination)
            && let Some(uri) = inner.as_deref().or(self.envelope.name.as_deref())
        {
            self.session.subscriptions.set(index, uri, on);
        }
    }

    /// The message as this client is to see it.
    fn shown(&self, index: usize, message: Bytes) -> Bytes {
        self.host.federation.present(index, message)
    }

    /// The response with what the client's era requires.
    async fn in_era(&self, upstream: &Upstream, message: Bytes) -> Result<Bytes, Problem> {
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

/// "This protocol version is not spoken here": another server than before.
const UNSUPPORTED_VERSION: i64 = -32022;
/// A modern server's "header and body differ".
const HEADER_MISMATCH: i64 = -32020;

/// The refusal of a log level that is none.
pub(crate) fn bad_level() -> Problem {
    let levels = LEVELS.join(", ");
    Problem::InvalidParams {
        detail: format!("level must be one of {levels}"),
    }
}

/// The code of a response that is an error.
fn error_code(response: &[u8]) -> Option<i64> {
    #[derive(Deserialize)]
    struct Error {
        code: i64,
    }
    let error: Error = serde_json::from_slice(scan(response).ok()?.error?).ok()?;
    Some(error.code)
}

/// From the least to the most urgent (RFC 5424).
const LEVELS: [&str; 8] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];

/// The log level that a `logging/setLevel` names, if it is one.
pub(crate) fn level(envelope: &Envelope<'_>) -> Option<String> {
    let level = RawObject::parse(envelope.params?)?.text("level")?;
    LEVELS.contains(&level.as_str()).then_some(level)
}

/// What a modern request says of its client.
fn modern_facts(version: ProtocolVersion, envelope: &Envelope<'_>) -> ClientFacts {
    let raw = |part: Option<&[u8]>| -> Value {
        part.and_then(|part| serde_json::from_slice(part).ok())
            .unwrap_or_default()
    };
    let info = raw(envelope.meta.client_info);
    let text = |member: &str| info[member].as_str().unwrap_or_default().to_owned();
    ClientFacts {
        version,
        capabilities: capability_bits(raw(envelope.meta.client_capabilities)).0,
        name: text("name"),
        software_version: text("version"),
    }
}

/// A request that an upstream has.
struct Sent {
    id: String,
    incoming: Incoming,
    connection: Arc<Connection>,
    cancelled: CancellationToken,
    _guard: Option<RequestGuard>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_level_of_the_protocol_is_one() {
        let level_of = |params: &str| {
            let request =
                format!(r#"{{"jsonrpc":"2.0","id":1,"method":"logging/setLevel"{params}}}"#);
            level(&scan(request.as_bytes()).expect("a request"))
        };
        for known in ["debug", "warning", "emergency"] {
            let params = format!(r#","params":{{"level":"{known}","x":1}}"#);
            assert_eq!(level_of(&params).as_deref(), Some(known));
        }
        for params in [
            "",
            r#","params":{}"#,
            r#","params":{"level":"loud"}"#,
            r#","params":{"level":"DEBUG"}"#,
            r#","params":{"level":3}"#,
            r#","params":{"level":null}"#,
        ] {
            assert_eq!(level_of(params), None, "{params}");
        }
    }
}
