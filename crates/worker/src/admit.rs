//! Admission: checks that a message is for a shard served here, finds what it
//! means and runs it where it arrived.

use std::sync::Arc;

use hexagram_core::{ClientId, Era, EventId, PrincipalId, StreamKind};
use hexagram_mcp::envelope::{Envelope, Kind, is_batch, scan};
use hexagram_mcp::error::Problem;
use hexagram_proto::link::{ExchangeKind, Header, Open};
use hexagram_proto::{Malformed, STEPS, id128, protocol_version, session_claims};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::host::{Call, Host};
use crate::place::Place;
use crate::reply::{Reply, Run};
use crate::shard::Shard;
use crate::stream::Resumption;
use crate::successor::Successor;
use crate::upstream::NativeHandler;
use crate::{answer, batch, dispatch, handoff, one_way, resume, standing};

/// A client refused by a draining worker should wait this long, in ms.
const RETRY_AFTER_MS: u64 = 1_000;

impl Host {
    /// Answers the exchange at once, or gives what is to run in a task.
    pub(crate) fn admit(self: &Arc<Self>, mut open: Open, mut reply: Reply) -> Option<Run> {
        self.metrics.exchanges.inc();
        let Some(shard) = self.owned(&open) else {
            self.misdirect(&open, reply);
            return None;
        };
        let entered = Arc::clone(&shard);
        let _admission = match entered.enter() {
            Ok(admission) => admission,
            Err(to) => {
                reply.moving(open.shard, open.epoch, &to);
                return None;
            }
        };
        let kind = open.kind();
        let after = std::mem::take(&mut open.last_event_id);
        let call = match call(open, shard) {
            Ok(call) => call,
            Err(error) => {
                tracing::error!(%error, "refused an edge's message");
                reply.refuse(&Problem::Internal);
                return None;
            }
        };
        reply.set_era(call.era());
        if let Some(claims) = &call.claims
            && !call.shard.is_alive(claims.key)
        {
            let method = name_request(&call.body, &mut reply);
            if call.repeated && method.as_deref() == Some("tools/call") {
                return refuse_repeated(reply);
            }
            reply.refuse(&Problem::SessionNotFound);
            return None;
        }
        match kind {
            ExchangeKind::Message => self.message(call, reply),
            ExchangeKind::Stream => self.stream(&call, &after, reply),
            ExchangeKind::Delete => self.delete(&call, reply),
        }
    }

    fn owned(&self, open: &Open) -> Option<Arc<Shard>> {
        self.shard(open.shard)
            .filter(|shard| shard.epoch.get() == open.epoch)
    }

    /// Says what is known of a shard that is not served here in that epoch.
    fn misdirect(&self, open: &Open, reply: Reply) {
        let place = self.place(open.shard);
        let served = place.and_then(Place::shard).map(|shard| Successor {
            worker: self.name.clone(),
            epoch: shard.epoch,
        });
        let known = served.or_else(|| place?.successor());
        reply.misdirected(open.shard, known.as_ref());
    }

    /// Runs one message, or a batch of them.
    pub(crate) fn message(self: &Arc<Self>, call: Call, mut reply: Reply) -> Option<Run> {
        if is_batch(&call.body) && !call.batched {
            return batch::run(self, call, reply);
        }
        let body = call.body.clone();
        let envelope = match scan(&body) {
            Ok(envelope) => envelope,
            Err(error) => {
                reply.refuse(&error.into());
                return None;
            }
        };
        match envelope.kind {
            Kind::Request => {
                if let Some(id) = &envelope.id {
                    reply.set_id(id.as_str());
                }
                self.request(call, &envelope, reply)
            }
            Kind::Notification | Kind::Response | Kind::ErrorResponse => self.one_way(call, reply),
        }
    }

    fn request(self: &Arc<Self>, call: Call, envelope: &Envelope<'_>, reply: Reply) -> Option<Run> {
        let method = envelope.method.as_deref().unwrap_or_default();
        if self.is_draining() {
            return refuse_draining(reply);
        }
        if call.repeated && method == "tools/call" {
            return refuse_repeated(reply);
        }
        tracing::trace!(
            target: STEPS, step = "admitted", shard = call.shard.id.get(),
            epoch = call.shard.epoch.get(), id = envelope.id.as_ref().map(|id| id.as_str()),
        );
        match (call.era(), method) {
            (Era::Legacy, "ping") => answer::empty(reply),
            (Era::Legacy, "server/discover" | "subscriptions/listen" | "tasks/update") => {
                reply.refuse(&Problem::MethodNotFound {
                    method: method.to_owned(),
                });
                None
            }
            (Era::Legacy, "initialize") if call.claims.is_none() => {
                answer::initialize(self, &call, envelope, reply)
            }
            (Era::Modern, "server/discover") => answer::discover(self, reply),
            _ => match self.native() {
                Some(handler) => answer::native(handler.as_ref(), &call, envelope, reply),
                None => Some(Box::pin(dispatch::request(Arc::clone(self), call, reply))),
            },
        }
    }

    /// The only upstream, where it answers at once.
    fn native(&self) -> Option<Arc<dyn NativeHandler>> {
        let federation = self.federation();
        let native = federation.single()?.native()?;
        federation.count(0);
        Some(Arc::clone(native))
    }

    fn one_way(self: &Arc<Self>, call: Call, reply: Reply) -> Option<Run> {
        let Some(key) = call.claims.as_ref().map(|claims| claims.key) else {
            reply.end(StatusCode::ACCEPTED);
            return None;
        };
        let session = call.shard.held_session(key);
        let elsewhere = call.shard.runs_elsewhere(key);
        if session.is_none() && !elsewhere {
            // Where nothing is held for a session, there is nobody to tell.
            reply.end(StatusCode::ACCEPTED);
            return None;
        }
        let host = Arc::clone(self);
        Some(Box::pin(async move {
            if elsewhere {
                handoff::pass_on(&call.shard, key, call.body.clone()).await;
            }
            let Some(session) = session else {
                return reply.end(StatusCode::ACCEPTED);
            };
            let body = session.tasks.restore(&host.sealer, call.body);
            one_way::run(session, body, reply).await;
        }))
    }

    fn stream(self: &Arc<Self>, call: &Call, after: &str, reply: Reply) -> Option<Run> {
        let resumption = Resumption::of(call.version);
        let position = match after {
            "" => None,
            _ if resumption == Resumption::No => None,
            text => match EventId::parse(text) {
                Some(position) => Some(position),
                None => {
                    reply.refuse(&Problem::UnknownEvent);
                    return None;
                }
            },
        };
        if let Some(position) = position.filter(|id| id.stream.kind == StreamKind::Call) {
            let key = call.claims.as_ref().map(|claims| claims.key);
            let session = key.and_then(|key| call.shard.held_session(key));
            return resume::call(session, position, resumption, reply);
        }
        if self.is_draining() {
            return refuse_draining(reply);
        }
        let Some(session) = self.session(call) else {
            reply.refuse(&Problem::SessionNotFound);
            return None;
        };
        let id = || call.shard.stream_id(StreamKind::Standing);
        let stream = session.streams.listen(id, resumption);
        let (host, shard) = (Arc::clone(self), Arc::clone(&call.shard));
        Some(Box::pin(standing::run(
            host, session, shard, stream, position, reply,
        )))
    }

    fn delete(&self, call: &Call, reply: Reply) -> Option<Run> {
        let Some(claims) = &call.claims else {
            reply.refuse(&Problem::SessionRequired);
            return None;
        };
        let (key, shard) = (claims.key, Arc::clone(&call.shard));
        let held = shard.delete(key);
        // What runs in it must not answer once the client knows that it is over.
        if let Some(session) = &held {
            session.delete();
        }
        if !shard.runs_elsewhere(key) {
            reply.end(StatusCode::OK);
            let session = held?;
            return Some(Box::pin(async move { session.close().await }));
        }
        Some(Box::pin(async move {
            handoff::pass_on(&shard, key, bytes::Bytes::new()).await;
            reply.end(StatusCode::OK);
            if let Some(session) = held {
                session.close().await;
            }
        }))
    }
}

fn refuse_draining(reply: Reply) -> Option<Run> {
    reply.refuse(&Problem::Draining {
        retry_after_ms: RETRY_AFTER_MS,
    });
    None
}

/// A tool is not run twice. All other requests may be: they read, or say again
/// what holds already.
fn refuse_repeated(reply: Reply) -> Option<Run> {
    reply.refuse(&Problem::OutcomeUnknown {
        detail: "the worker was lost while the call ran".to_owned(),
        upstream: None,
    });
    None
}

/// Lets a refusal carry the id of the request, if the body holds one; gives the
/// request's method.
fn name_request(body: &[u8], reply: &mut Reply) -> Option<String> {
    let envelope = scan(body).ok()?;
    let id = envelope.id.filter(|_| envelope.kind == Kind::Request)?;
    reply.set_id(id.as_str());
    envelope.method.map(Into::into)
}

/// What an edge read as headers are headers.
fn params(headers: &[Header]) -> HeaderMap {
    let parsed = headers.iter().filter_map(|header| {
        let name: HeaderName = header.name.parse().ok()?;
        Some((name, HeaderValue::from_bytes(&header.value).ok()?))
    });
    parsed.collect()
}

fn call(open: Open, shard: Arc<Shard>) -> Result<Call, Malformed> {
    Ok(Call {
        shard,
        client: ClientId::from_u128(id128(open.client, "client")?),
        principal: PrincipalId::from_u128(id128(open.principal, "principal")?),
        version: protocol_version(open.version)?,
        claims: session_claims(&open)?,
        params: params(&open.params),
        once: open.once,
        repeated: open.attempt > 1,
        reattached: open.reattach,
        batched: false,
        body: open.body,
    })
}
