//! JSON-RPC batches, which only MCP 2025-03-26 has: each message runs as if it
//! had come alone, and the answers leave together.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::future::join_all;
use hexagram_mcp::envelope::{Kind, ScanError, batch, scan};
use hexagram_mcp::error::Problem;
use hexagram_proto::link::{Event, WorkerMessage, worker_message};
use hexagram_proto::{Drained, INITIAL_WINDOW, Outbox, outbox};
use http::{HeaderMap, StatusCode};

use crate::host::{Call, Host};
use crate::outlet::Outlet;
use crate::reply::{Flow, Reply, Run};

/// Runs the batch in the call's body.
pub(crate) fn run(host: &Arc<Host>, call: Call, reply: Reply) -> Option<Run> {
    let body = call.body.clone();
    let elements = match batch(&body) {
        Ok(elements) => elements,
        Err(error) => {
            reply.refuse(&error.into());
            return None;
        }
    };
    let (out, drained) = outbox();
    let mut parts = Parts::new(out);
    for element in elements {
        let part = Call {
            shard: Arc::clone(&call.shard),
            claims: call.claims.clone(),
            body: body.slice_ref(element),
            params: HeaderMap::new(),
            batched: true,
            opening: call.shard.openings.begin(),
            ..call
        };
        parts.begin(host, part);
    }
    call.opening.end();
    if parts.requests == 0 && parts.refusals.is_empty() {
        return Some(Box::pin(parts.accept(drained, reply)));
    }
    let host = Arc::clone(host);
    Some(Box::pin(async move {
        let Some(session) = host.session(&call) else {
            return reply.refuse(&Problem::SessionNotFound);
        };
        let flow = Arc::clone(reply.flow());
        let answers = Answers::new(Outlet::new(&session, &call, reply));
        tokio::select! {
            biased;
            () = session.deleted() => flow.revoke(),
            () = call.shard.deposed.cancelled() => flow.depose(),
            () = parts.finish(drained, answers) => {}
        }
        session.touch();
    }))
}

/// The messages of a batch on their way, each an exchange of its own whose
/// replies gather here instead of on the link.
struct Parts {
    outbox: Outbox<WorkerMessage>,
    /// By their place in the batch.
    flows: HashMap<u64, Arc<Flow>>,
    requests: usize,
    /// Answers to what is no message, or has no place in a batch.
    refusals: Vec<Bytes>,
    runs: Vec<Run>,
    next: u64,
}

impl Parts {
    fn new(outbox: Outbox<WorkerMessage>) -> Self {
        Self {
            outbox,
            flows: HashMap::new(),
            requests: 0,
            refusals: Vec::new(),
            runs: Vec::new(),
            next: 0,
        }
    }

    fn begin(&mut self, host: &Arc<Host>, part: Call) {
        let is_request = match check(&part.body) {
            Ok(kind) => kind == Kind::Request,
            Err(refusal) => return self.refusals.push(refusal),
        };
        self.next += 1;
        let refusals = host.metrics.refusals.clone();
        let reply = Reply::new(self.next, INITIAL_WINDOW, self.outbox.clone(), refusals);
        self.requests += usize::from(is_request);
        self.flows.insert(self.next, Arc::clone(reply.flow()));
        self.runs.extend(host.message(part, reply));
    }

    /// Accepts messages that have no answer, once each was taken or given up on.
    async fn accept(self, mut drained: Drained<WorkerMessage>, reply: Reply) {
        let accepted = async {
            let mut waiting = self.flows.len();
            while waiting > 0
                && let Some(messages) = drained.next().await
            {
                // One for each: that it is over.
                waiting = waiting.saturating_sub(messages.len());
            }
            reply.end(StatusCode::ACCEPTED);
        };
        tokio::join!(join_all(self.runs), accepted);
    }

    async fn finish(self, drained: Drained<WorkerMessage>, mut answers: Answers<'_>) {
        for refusal in self.refusals {
            answers.add(refusal).await;
        }
        let answered = async {
            gather(drained, self.flows, &mut answers).await;
            answers.finish().await;
        };
        tokio::join!(join_all(self.runs), answered);
    }
}

/// The kind of a message, or what to answer to what is none.
fn check(body: &Bytes) -> Result<Kind, Bytes> {
    let envelope = scan(body).map_err(|error: ScanError| {
        let id = error.id().map(str::to_owned);
        Problem::from(error).body(id.as_deref())
    })?;
    if envelope.method.as_deref() == Some("initialize") {
        let problem = Problem::InvalidRequest {
            detail: "initialize must not be part of a batch; send it alone".to_owned(),
        };
        return Err(problem.body(envelope.id.map(|id| id.as_str())));
    }
    Ok(envelope.kind)
}

/// Takes what the messages are answered until all are over.
async fn gather(
    mut drained: Drained<WorkerMessage>,
    mut flows: HashMap<u64, Arc<Flow>>,
    answers: &mut Answers<'_>,
) {
    let mut partial: HashMap<u64, BytesMut> = HashMap::new();
    while !flows.is_empty() {
        let Some(messages) = drained.next().await else {
            return;
        };
        for kind in messages.into_iter().filter_map(|message| message.kind) {
            match kind {
                worker_message::Kind::Event(event) => {
                    let (number, last) = (event.exchange, event.last && !event.more);
                    let size = event.data.len();
                    if let Some(message) = whole(event, &mut partial) {
                        answers.take(message, last).await;
                    }
                    if let Some(flow) = flows.get(&number) {
                        flow.grant(u32::try_from(size).unwrap_or(u32::MAX));
                    }
                    if last {
                        flows.remove(&number);
                    }
                }
                worker_message::Kind::End(end) => drop(flows.remove(&end.exchange)),
                _ => {}
            }
        }
    }
}

/// The message that this event completes.
fn whole(event: Event, partial: &mut HashMap<u64, BytesMut>) -> Option<Bytes> {
    if !event.more && !partial.contains_key(&event.exchange) {
        return Some(event.data);
    }
    let message = partial.entry(event.exchange).or_default();
    message.extend_from_slice(&event.data);
    if event.more {
        return None;
    }
    partial.remove(&event.exchange).map(BytesMut::freeze)
}

/// What goes back: one array, or one event after the other once something had
/// to be said before the end.
struct Answers<'a> {
    outlet: Outlet<'a>,
    waiting: Vec<Bytes>,
}

impl<'a> Answers<'a> {
    fn new(outlet: Outlet<'a>) -> Self {
        Self {
            outlet,
            waiting: Vec::new(),
        }
    }

    async fn take(&mut self, message: Bytes, last: bool) {
        if last {
            return self.add(message).await;
        }
        self.outlet.event(message).await;
        self.flush(0).await;
    }

    async fn add(&mut self, response: Bytes) {
        self.waiting.push(response);
        if self.outlet.is_streaming() {
            // One is kept back to end the stream.
            self.flush(1).await;
        }
    }

    async fn flush(&mut self, keep: usize) {
        let count = self.waiting.len().saturating_sub(keep);
        for response in self.waiting.drain(..count) {
            self.outlet.event(response).await;
        }
    }

    async fn finish(self) {
        match &self.waiting[..] {
            [] => self.outlet.end_unanswered().await,
            [last] if self.outlet.is_streaming() => self.outlet.finish(last.clone()).await,
            all => {
                let array = array(all);
                self.outlet.finish(array).await;
            }
        }
    }
}

fn array(messages: &[Bytes]) -> Bytes {
    let mut out = BytesMut::from(&b"["[..]);
    for (n, message) in messages.iter().enumerate() {
        if n > 0 {
            out.extend_from_slice(b",");
        }
        out.extend_from_slice(message);
    }
    out.extend_from_slice(b"]");
    out.freeze()
}
