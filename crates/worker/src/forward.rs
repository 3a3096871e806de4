//! Carries a client's messages to upstreams and their answers back.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;
use hexagram_core::{Era, ProtocolVersion};
use hexagram_mcp::client::capability_bits;
use hexagram_mcp::envelope::{Envelope, scan};
use hexagram_mcp::error::Problem;
use hexagram_mcp::splice;
use serde_json::{Value, json};

use crate::federation::{Destination, subject};
use crate::host::{Call, Host};
use crate::relay::{Outgoing, Relayed, Translation, modernized, outgoing, upstream_of};
use crate::reply::Reply;
use crate::session::{ClientFacts, InFlight, Session};
use crate::upstream::{Connection, Incoming, Upstream, UpstreamError};

/// Pages of one upstream's list that are fetched for a merged list, at most.
const MAX_PAGES: usize = 64;

/// Answers one request from the upstreams.
pub(crate) async fn request(host: Arc<Host>, call: Call, reply: Reply) {
    let flow = Arc::clone(reply.flow());
    let era = call.era();
    let work = route(host, call, reply);
    if era == Era::Legacy {
        // A disconnect is no cancellation there; what comes is dropped.
        return work.await;
    }
    tokio::select! {
        () = work => {}
        () = flow.left() => {}
    }
}

async fn route(host: Arc<Host>, call: Call, reply: Reply) {
    let Some(session) = host.session(&call) else {
        return reply.refuse(&Problem::SessionRequired);
    };
    let body = call.body.clone();
    // The body was scanned when it was admitted.
    let Ok(envelope) = scan(&body) else {
        return reply.refuse(&Problem::Internal);
    };
    let method = envelope.method.as_deref().unwrap_or_default();
    let forward = Forward {
        host: &host,
        call: &call,
        session: &session,
        envelope: &envelope,
        method,
    };
    match host
        .federation
        .destination(method, subject(envelope.name.as_ref()))
    {
        Ok(Destination::One(index, name)) => forward.one(index, name.as_deref(), reply).await,
        Ok(Destination::Merge(member)) => forward.merged(member, reply).await,
        Ok(Destination::Everywhere) => forward.everywhere(reply).await,
        Err(problem) => reply.refuse(&problem),
    }
}

/// One request on its way.
struct Forward<'a> {
    host: &'a Host,
    call: &'a Call,
    session: &'a Arc<Session>,
    envelope: &'a Envelope<'a>,
    method: &'a str,
}

impl Forward<'_> {
    /// Sends the request to one upstream and relays all that comes back.
    async fn one(&self, index: usize, name: Option<&str>, reply: Reply) {
        let upstream = self.host.federation.get(index);
        let renamed = name.map(|name| splice::with_name(&self.call.body, self.envelope, name));
        let body = renamed.unwrap_or_else(|| self.call.body.clone());
        match self.send(index, upstream, &body).await {
            Ok(sent) => self.relay(index, upstream, sent, reply).await,
            Err(error) => reply.refuse(&self.problem(upstream, &error, true)),
        }
    }

    fn problem(&self, upstream: &Upstream, error: &UpstreamError, had_request: bool) -> Problem {
        tracing::warn!(upstream = upstream.name(), %error, method = self.method, "upstream failed");
        // Reading again does no harm, so its outcome is never in doubt.
        let acts = self.method == "tools/call";
        error.problem(upstream.name(), had_request && acts)
    }

    /// Opens the upstream session if need be and sends; once more on a new
    /// session when the upstream has forgotten the old one (it restarted).
    async fn send(
        &self,
        index: usize,
        upstream: &Upstream,
        body: &Bytes,
    ) -> Result<Sent, UpstreamError> {
        match self.send_once(index, upstream, body).await {
            Err((UpstreamError::SessionGone, Some(connection))) => {
                self.session.forget(index, &connection).await;
                self.send_once(index, upstream, body).await
            }
            other => other,
        }
        .map_err(|(error, _)| error)
    }

    async fn send_once(
        &self,
        index: usize,
        upstream: &Upstream,
        body: &Bytes,
    ) -> Result<Sent, (UpstreamError, Option<Arc<Connection>>)> {
        let connection = self
            .connection(index, upstream)
            .await
            .map_err(|error| (error, None))?;
        let failed = |error| (error, Some(Arc::clone(&connection)));
        let envelope =
            scan(body).map_err(|error| failed(UpstreamError::Garbage(error.to_string())))?;
        let out = outgoing(&self.call.shard.upstream_id(), body, &envelope);
        let guard = self.envelope.id.as_ref().map(|id| {
            let request = InFlight {
                connection: Arc::clone(&connection),
                upstream_id: out.id.clone(),
            };
            self.session.begin(id.as_str(), request)
        });
        let Outgoing { id, body } = out;
        let incoming = connection.request(&id, body).await.map_err(failed)?;
        Ok(Sent {
            id,
            incoming,
            connection,
            _guard: guard,
        })
    }

    /// The client's session with the upstream, or a fresh one for this request
    /// where the upstream needs none.
    async fn connection(
        &self,
        index: usize,
        upstream: &Upstream,
    ) -> Result<Arc<Connection>, UpstreamError> {
        if upstream.is_stateless_in(self.call.era()) {
            let facts = modern_facts(self.call.version, self.envelope);
            return upstream.open_stateless(&facts).map(Arc::new);
        }
        self.session.connection(index, upstream).await
    }

    async fn relay(&self, index: usize, upstream: &Upstream, mut sent: Sent, mut reply: Reply) {
        let client_id = reply.id().to_owned();
        let translation = Translation {
            upstream: upstream.name(),
            our_id: Some(&sent.id),
            client_id: Some(&client_id),
            client_token: self
                .envelope
                .meta
                .progress_token
                .as_ref()
                .map(|token| token.as_str()),
            era: self.call.era(),
        };
        loop {
            let message = match sent.incoming.next().await {
                Some(Ok(message)) => message,
                Some(Err(error)) => return reply.refuse(&self.problem(upstream, &error, true)),
                None => {
                    let error = UpstreamError::Broken("it closed without a response".to_owned());
                    return reply.refuse(&self.problem(upstream, &error, true));
                }
            };
            match translation.translate(&message) {
                Relayed::Response(message) => {
                    return reply.finish(self.shown(index, message)).await;
                }
                Relayed::Message(message) => {
                    reply.event(self.shown(index, message)).await;
                }
                Relayed::Refuse(answer) => drop(sent.connection.send(answer).await),
                Relayed::Drop => {}
            }
        }
    }

    /// The message as this client is to see it.
    fn shown(&self, index: usize, message: Bytes) -> Bytes {
        let message = match self.call.era() {
            Era::Modern => modernized(&message, self.method),
            Era::Legacy => message,
        };
        present(self.host, index, message)
    }

    /// Asks every upstream for its list and answers with all of them in one
    /// page: many clients never ask for a second.
    async fn merged(&self, member: &'static str, reply: Reply) {
        if self.envelope.cursor.is_some() {
            return reply.refuse(&Problem::InvalidParams {
                detail: "unknown cursor: merged lists have one page".to_owned(),
            });
        }
        let upstreams = self.host.federation.all().iter().enumerate();
        let lists =
            join_all(upstreams.map(|(index, upstream)| self.list(index, upstream, member))).await;
        let mut items = Vec::new();
        let mut missing = Vec::new();
        for (list, upstream) in lists.into_iter().zip(self.host.federation.all()) {
            match list {
                Ok(list) => items.extend(list),
                Err(error) => missing.push((upstream, error)),
            }
        }
        if let [(upstream, error), ..] = &missing[..]
            && missing.len() == self.host.federation.len()
        {
            return reply.refuse(&self.problem(upstream, error, false));
        }
        let names: Vec<_> = missing
            .iter()
            .map(|(upstream, _)| upstream.name())
            .collect();
        let message = merged_result(reply.id(), member, items, &names);
        let message = match self.call.era() {
            Era::Modern => modernized(&message, self.method),
            Era::Legacy => message,
        };
        reply.finish(message).await;
    }

    async fn list(
        &self,
        index: usize,
        upstream: &Upstream,
        member: &str,
    ) -> Result<Vec<Value>, UpstreamError> {
        let mut items = Vec::new();
        let mut cursor = None;
        for _ in 0..MAX_PAGES {
            let mut result = self.page(index, upstream, cursor.as_deref()).await?;
            self.host.federation.present(index, &mut result);
            if let Some(Value::Array(page)) = result.get_mut(member).map(Value::take) {
                items.extend(page);
            }
            cursor = result["nextCursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        Ok(items)
    }

    async fn page(
        &self,
        index: usize,
        upstream: &Upstream,
        cursor: Option<&str>,
    ) -> Result<Value, UpstreamError> {
        let connection = self.connection(index, upstream).await?;
        let id = format!("\"{}\"", self.call.shard.upstream_id());
        let mut params = self
            .envelope
            .params
            .and_then(|params| serde_json::from_slice(params).ok())
            .unwrap_or_else(|| json!({}));
        if let Some(cursor) = cursor {
            params["cursor"] = Value::from(cursor);
        }
        let params = params.to_string();
        let request = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"{}","params":{params}}}"#,
            self.method
        );
        let answer = connection.ask(&id, Bytes::from(request)).await?;
        let answer: Value = serde_json::from_slice(&answer)
            .map_err(|error| UpstreamError::Garbage(error.to_string()))?;
        // A server without such a list says "method not found": it has none.
        Ok(answer.get("result").cloned().unwrap_or_else(|| json!({})))
    }

    /// Tells every upstream session of the client, now and when it is opened.
    async fn everywhere(&self, reply: Reply) {
        self.session.set_log_level(self.call.body.clone());
        let connections = self.session.open_connections();
        let told = join_all(connections.iter().map(|connection| async move {
            let out = outgoing(
                &self.call.shard.upstream_id(),
                &self.call.body,
                self.envelope,
            );
            connection.ask(&out.id, out.body).await
        }))
        .await;
        for error in told.into_iter().filter_map(Result::err) {
            tracing::debug!(%error, method = self.method, "an upstream was not told");
        }
        crate::answer::empty(reply);
    }
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
    _guard: Option<crate::session::RequestGuard>,
}

/// Renames what needs renaming; with one upstream nothing does.
pub(crate) fn present(host: &Host, index: usize, message: Bytes) -> Bytes {
    if host.federation.single().is_some() {
        return message;
    }
    let Ok(mut value) = serde_json::from_slice::<Value>(&message) else {
        return message;
    };
    for part in ["result", "params"] {
        if let Some(part) = value.get_mut(part) {
            host.federation.present(index, part);
        }
    }
    Bytes::from(value.to_string())
}

fn merged_result(id: &str, member: &str, items: Vec<Value>, missing: &[&str]) -> Bytes {
    let mut result = json!({ member: items });
    if !missing.is_empty() {
        result["_meta"] = json!({"hexagram.dev/unavailable": missing});
    }
    Bytes::from(format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#
    ))
}

/// Carries a notification or a response of the client to whom it concerns.
pub(crate) async fn one_way(host: Arc<Host>, call: Call) {
    let Some(session) = host.session(&call) else {
        return;
    };
    session.touch();
    let Ok(envelope) = scan(&call.body) else {
        return;
    };
    let sent = match envelope.method.as_deref() {
        None => respond(&host, &session, &call.body, &envelope).await,
        Some("notifications/initialized") => Ok(()),
        Some("notifications/cancelled") => cancel(&session, &call.body, &envelope).await,
        Some(_) => broadcast(&session, &call.body).await,
    };
    if let Err(error) = sent {
        tracing::debug!(%error, "a client's message did not reach its upstream");
    }
}

/// The client answers an upstream's request.
async fn respond(
    host: &Host,
    session: &Session,
    body: &Bytes,
    envelope: &Envelope<'_>,
) -> Result<(), UpstreamError> {
    let asked = envelope.id.as_ref().and_then(|id| upstream_of(id.as_str()));
    let Some((name, id)) = asked else {
        return Ok(());
    };
    let Some(index) = host.federation.index_of(&name) else {
        return Ok(());
    };
    let connection = session
        .connection(index, host.federation.get(index))
        .await?;
    connection.send(splice::with_id(body, envelope, &id)).await
}

async fn cancel(
    session: &Session,
    body: &Bytes,
    envelope: &Envelope<'_>,
) -> Result<(), UpstreamError> {
    let request = envelope
        .request_id
        .as_ref()
        .and_then(|id| session.in_flight(id.as_str()));
    match request {
        Some(InFlight {
            connection,
            upstream_id,
        }) => {
            let body = splice::with_request_id(body, envelope, &upstream_id);
            connection.send(body).await
        }
        None => Ok(()),
    }
}

async fn broadcast(session: &Session, body: &Bytes) -> Result<(), UpstreamError> {
    for connection in session.open_connections() {
        connection.send(body.clone()).await?;
    }
    Ok(())
}
