//! Admission: checks that a message is for a shard served here, finds what it
//! means and runs it where it arrived.

use std::sync::Arc;

use hexagram_core::{ClientId, Era, EventId, PrincipalId, StreamKind};
use hexagram_mcp::envelope::{self, Envelope, Kind, is_batch, scan};
use hexagram_mcp::error::Problem;
use hexagram_proto::link::{ExchangeKind, Header, Open};
use hexagram_proto::{Malformed, STEPS, id128, protocol_version, session_claims};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::forward::outcome_unknown;
use crate::host::{Call, Host};
use crate::ledger::{STORE_AWAY, Stored};
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
                let to = to.as_ref().unwrap_or(&self.name);
                reply.moving(open.shard, open.epoch, to);
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
            if kind == ExchangeKind::Delete {
                return delete_again(&call, reply);
            }
            let calls = name_request(&call.body, &mut reply);
            reply.refuse(&match call.repeated && calls {
                true => outcome_unknown(),
                false => Problem::SessionNotFound,
            });
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
            // "Not now" would say that it did not run.
            reply.refuse(&match call.repeated && method == "tools/call" {
                true => outcome_unknown(),
                false => draining(),
            });
            return None;
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
            return resume::call(call, position, resumption, reply);
        }
        if self.is_draining() {
            reply.refuse(&draining());
            return None;
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
        let (held, ticket) = shard.delete(key);
        // What runs in it must not answer once the client knows that it is over.
        if let Some(session) = &held {
            session.delete();
        }
        if ticket.is_none() && !shard.runs_elsewhere(key) {
            reply.end(StatusCode::OK);
            let session = held?;
            return Some(Box::pin(async move { session.close().await }));
        }
        Some(Box::pin(async move {
            handoff::pass_on(&shard, key, bytes::Bytes::new()).await;
            match shard.stored(ticket).await {
                Stored::Yes => reply.end(StatusCode::OK),
                Stored::Away | Stored::Given => reply.refuse(&STORE_AWAY),
            }
            if let Some(session) = held {
                session.close().await;
            }
        }))
    }
}

/// The session is over here. Whether every later owner knows is another question: a
/// DELETE that was refused for that is asked again. One whose worker was lost may have
/// been what ended it.
fn delete_again(call: &Call, reply: Reply) -> Option<Run> {
    let key = call.claims.as_ref().map(|claims| claims.key)?;
    if key.epoch < call.shard.floor() || call.shard.ledger().is_none() {
        reply.refuse(&Problem::SessionNotFound);
        return None;
    }
    let shard = Arc::clone(&call.shard);
    let (_, ticket) = shard.delete(key);
    let repeated = call.repeated;
    Some(Box::pin(async move {
        match shard.stored(ticket).await {
            Stored::Yes if repeated => reply.end(StatusCode::OK),
            Stored::Yes => reply.refuse(&Problem::SessionNotFound),
            Stored::Away | Stored::Given => reply.refuse(&STORE_AWAY),
        }
    }))
}

fn draining() -> Problem {
    Problem::Draining {
        retry_after_ms: RETRY_AFTER_MS,
    }
}

/// Lets a refusal carry the id of the request, if the body holds one; gives
/// whether a tool is called in it.
fn name_request(body: &[u8], reply: &mut Reply) -> bool {
    if let Ok(elements) = envelope::batch(body) {
        let mut elements = elements
            .into_iter()
            .filter_map(|element| scan(element).ok());
        return elements.any(|element| calls_tool(&element));
    }
    let Ok(envelope) = scan(body) else {
        return false;
    };
    if let Some(id) = envelope
        .id
        .as_ref()
        .filter(|_| envelope.kind == Kind::Request)
    {
        reply.set_id(id.as_str());
    }
    calls_tool(&envelope)
}

fn calls_tool(envelope: &Envelope<'_>) -> bool {
    envelope.kind == Kind::Request && envelope.method.as_deref() == Some("tools/call")
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
        opening: shard.openings.begin(),
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
