//! The worker's end of the links: a gRPC service that greets edges, reads
//! their frames and hands each message to the host, where it runs.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use hexagram_mcp::error::Problem;
use hexagram_proto::link::link_server;
use hexagram_proto::link::{
    Chunk, EdgeFrame, EdgeMessage, Hello, Leaving, Open, WorkerFrame, WorkerMessage, edge_message,
    worker_message,
};
use hexagram_proto::{
    Assembly, HELLO_TIMEOUT, HelloError, LASTING_SINCE, Lasting, Outbox, Sending, agree, outbox,
};
use hexagram_runtime::drain::Drain;
use parking_lot::Mutex;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::busy::Timer;
use crate::host::Host;
use crate::line::{Line, Lines};
use crate::reply::{Flow, Reply};

/// Longest message accepted from an edge, in bytes (REQUIREMENTS F8, hard limit).
const MAX_MESSAGE: usize = 16 << 20;

/// A worker that is to end, and that neither edge nor controller has been linked to for so
/// long, ends.
const FORSAKEN: Duration = Duration::from_secs(10);
/// Between two looks whether somebody is.
const LOOK: Duration = Duration::from_secs(1);

/// Serves links.
pub(crate) struct LinkService {
    host: Arc<Host>,
    hello: Hello,
    work: Work,
    lines: Lines,
}

/// What a drain waits for, in this order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Work {
    /// Fires when the edges are to be told.
    pub(crate) leaving: CancellationToken,
    /// Links whose edges may still begin something.
    pub(crate) open: Drain,
    /// Controllers that watch this worker.
    pub(crate) watched: Drain,
    /// Exchanges under way.
    pub(crate) running: Drain,
    /// Fires when nothing runs any more: what was said leaves, then the links end.
    pub(crate) done: CancellationToken,
}

impl Work {
    /// Waits until neither an edge nor a controller has been there for a while: nobody
    /// would take the shards, nobody needs them.
    pub(crate) async fn forsaken(&self) {
        let mut since = Instant::now();
        while since.elapsed() < FORSAKEN {
            tokio::time::sleep(LOOK).await;
            if self.open.running() + self.watched.running() > 0 {
                since = Instant::now();
            }
        }
    }
}

impl LinkService {
    pub(crate) fn new(host: Arc<Host>, hello: Hello, work: Work) -> Self {
        let lines = Lines::default();
        Self {
            host,
            hello,
            work,
            lines,
        }
    }

    /// The edge's Hello, and the link version that both speak.
    async fn greet(&self, frames: &mut Streaming<EdgeFrame>) -> Result<(Hello, u32), Status> {
        let first = tokio::time::timeout(HELLO_TIMEOUT, frames.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no Hello in time"))??;
        let greeting = first
            .and_then(|frame| frame.hello)
            .ok_or(HelloError::Missing);
        greeting
            .and_then(|theirs| self.accept(theirs))
            .map_err(|error| Status::failed_precondition(error.to_string()))
    }

    fn accept(&self, edge: Hello) -> Result<(Hello, u32), HelloError> {
        match agree(&self.hello_now(), &edge) {
            Ok(version) => Ok((edge, version)),
            Err(error) => {
                tracing::warn!(edge = edge.name, %error, "refused a link");
                Err(error)
            }
        }
    }
}

impl LinkService {
    /// Begins a link; gives what is said on it.
    fn begin(
        &self,
        edge: Hello,
        version: u32,
        incoming: Streaming<EdgeFrame>,
    ) -> Sending<WorkerFrame> {
        tracing::info!(edge = edge.name, "link up");
        let (out, drained) = outbox();
        // From here on the edge hears of every change: its Hello comes first.
        let keys = edge.key_fingerprints.clone();
        let number = self.host.edges.add(out.clone(), keys);
        let link = EdgeLink {
            number,
            host: Arc::clone(&self.host),
            outbox: out.clone(),
            flows: Arc::default(),
            partial: HashMap::new(),
            ceased: false,
            running: self.work.running.clone(),
            announcer: announcer(&self.host, out).abort_handle(),
        };
        let lasting = Lasting::new(drained);
        let line = self.lines.begin(&edge, version, lasting.clone(), incoming);
        let sending = lasting.connect(Hello {
            link: line.name,
            ..self.hello_now()
        });
        lasting.begin(version);
        let (open, leaving) = (self.work.open.clone(), self.work.leaving.clone());
        let done = self.work.done.clone();
        tokio::spawn(async move {
            let mut reader = Reader { link, line };
            // Until the edge has ceased, a drain waits for what it sends.
            let reason = match open.track(reader.until_ceased(leaving)).await {
                None => reader.until_closed(done).await,
                Some(reason) => reason,
            };
            tracing::info!(edge = edge.name, reason, "link down");
        });
        sending
    }

    /// Goes on with a link that the edge names, or begins one.
    async fn link(
        &self,
        edge: Hello,
        version: u32,
        incoming: Streaming<EdgeFrame>,
    ) -> Result<Sending<WorkerFrame>, Status> {
        let resume = edge.resume.filter(|_| version >= LASTING_SINCE);
        let Some(resume) = resume else {
            return Ok(self.begin(edge, version, incoming));
        };
        let hello = self.hello_now();
        match self.lines.go_on(&edge, &resume, hello, incoming).await {
            Ok(Some(sending)) => Ok(sending),
            Ok(None) => Err(Status::aborted("the link ends; begin anew")),
            Err(incoming) => Ok(self.begin(edge, version, incoming)),
        }
    }

    fn hello_now(&self) -> Hello {
        Hello {
            owned: self.host.owned_now(),
            key_fingerprints: self.host.sealer.fingerprints(),
            ..self.hello.clone()
        }
    }
}

type Frames = Pin<Box<dyn Stream<Item = Result<WorkerFrame, Status>> + Send>>;

#[tonic::async_trait]
impl link_server::Link for LinkService {
    type ConnectStream = Frames;

    async fn connect(
        &self,
        request: Request<Streaming<EdgeFrame>>,
    ) -> Result<Response<Frames>, Status> {
        let mut incoming = request.into_inner();
        let (edge, version) = self.greet(&mut incoming).await?;
        let sending = self.link(edge, version, incoming).await?;
        Ok(Response::new(Box::pin(sending.map(Ok))))
    }
}

type Flows = Arc<Mutex<HashMap<u64, Arc<Flow>>>>;

/// One edge's link: its running exchanges and half-received messages.
struct EdgeLink {
    number: u64,
    host: Arc<Host>,
    outbox: Outbox<WorkerMessage>,
    flows: Flows,
    partial: HashMap<u64, (Open, Assembly)>,
    ceased: bool,
    running: Drain,
    announcer: AbortHandle,
}

/// Tells the edge of every change in this process's handlers.
fn announcer(host: &Host, outbox: Outbox<WorkerMessage>) -> JoinHandle<()> {
    let mut changes = host.changes.outgoing();
    tokio::spawn(async move {
        loop {
            let kind = match changes.recv().await {
                Ok(announce) => Some(worker_message::Kind::Announce(announce)),
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            };
            if outbox.push(WorkerMessage { kind }).is_err() {
                return;
            }
        }
    })
}

/// Reads one edge's link.
struct Reader {
    link: EdgeLink,
    line: Line,
}

impl Reader {
    /// Tells the edge when this worker leaves and reads until it has ceased;
    /// gives the reason when the link ended before.
    async fn until_ceased(&mut self, leaving: CancellationToken) -> Option<String> {
        let mut told = false;
        while !self.link.ceased {
            tokio::select! {
                () = leaving.cancelled(), if !told => {
                    told = true;
                    self.link.leave();
                }
                frame = self.line.frame() => {
                    if let Err(reason) = self.link.take(frame).await {
                        return Some(reason);
                    }
                }
            }
        }
        None
    }

    /// Gives the reason of the link's end.
    async fn until_closed(&mut self, done: CancellationToken) -> String {
        loop {
            let frame = tokio::select! {
                frame = self.line.frame() => frame,
                () = done.cancelled() => return "drained".to_owned(),
            };
            if let Err(reason) = self.link.take(frame).await {
                return reason;
            }
        }
    }
}

impl EdgeLink {
    fn leave(&self) {
        let kind = Some(worker_message::Kind::Leaving(Leaving {}));
        // A closed link needs no telling.
        let _ = self.outbox.push(WorkerMessage { kind });
    }

    /// Handles what an edge says. After a stop of this process it is held up before each
    /// message until what is owned was validated: it may have waited here since before.
    async fn take(&mut self, frame: Result<EdgeFrame, String>) -> Result<(), String> {
        for message in frame?.messages {
            self.host.pulse.sound().await;
            self.handle(message);
        }
        Ok(())
    }

    fn handle(&mut self, message: EdgeMessage) {
        match message.kind {
            Some(edge_message::Kind::Open(open)) => self.open(open),
            Some(edge_message::Kind::Chunk(chunk)) => self.chunk(&chunk),
            Some(edge_message::Kind::Credit(credit)) => {
                self.with_flow(credit.exchange, |flow| flow.grant(credit.bytes));
            }
            Some(edge_message::Kind::Cancel(cancel)) => {
                self.partial.remove(&cancel.exchange);
                self.with_flow(cancel.exchange, Flow::leave);
            }
            Some(edge_message::Kind::Ceased(_)) => self.ceased = true,
            Some(edge_message::Kind::Announce(announce)) => self.host.changes.hear(&announce),
            Some(edge_message::Kind::Keys(keys)) => {
                let edges = &self.host.edges;
                edges.has_keys(self.number, keys.fingerprints);
            }
            None => {}
        }
    }

    fn with_flow(&self, exchange: u64, act: impl FnOnce(&Flow)) {
        let flow = self.flows.lock().get(&exchange).cloned();
        if let Some(flow) = flow {
            act(&flow);
        }
    }

    fn open(&mut self, mut open: Open) {
        if !open.more {
            return self.admit(open);
        }
        let mut assembly = Assembly::new(MAX_MESSAGE);
        // A first chunk is far below the limit.
        let _ = assembly.push(&std::mem::take(&mut open.body), true);
        self.partial.insert(open.exchange, (open, assembly));
    }

    fn chunk(&mut self, chunk: &Chunk) {
        let Some((mut open, mut assembly)) = self.partial.remove(&chunk.exchange) else {
            return;
        };
        match assembly.push(&chunk.data, chunk.more) {
            Ok(None) => {
                self.partial.insert(chunk.exchange, (open, assembly));
            }
            Ok(Some(body)) => {
                open.body = body;
                self.admit(open);
            }
            Err(error) => self
                .reply(&open)
                .refuse(&Problem::TooLarge { limit: error.limit }),
        }
    }

    fn reply(&self, open: &Open) -> Reply {
        let refusals = self.host.metrics.refusals.clone();
        Reply::new(open.exchange, open.credit, self.outbox.clone(), refusals)
    }

    fn timer(&self, shard: u32) -> Timer {
        let shard = self.host.shard_id(shard);
        shard
            .map(|shard| self.host.timer(shard))
            .unwrap_or_default()
    }

    /// Runs the exchange here in the reader where it can be answered at once,
    /// else in a task of its own.
    fn admit(&self, open: Open) {
        let reply = self.reply(&open);
        let (number, flow) = (reply.number(), Arc::clone(reply.flow()));
        // Where admission itself panics, the reply was dropped and has answered.
        let timer = self.timer(open.shard);
        let admitted = AssertUnwindSafe(|| timer.time(|| self.host.admit(open, reply)));
        let Ok(Some(run)) = std::panic::catch_unwind(admitted) else {
            return;
        };
        let flows = Arc::clone(&self.flows);
        flows.lock().insert(number, flow);
        self.running.spawn(async move {
            let _registered = Registered { flows, number };
            timer.run(run).await;
        });
    }
}

/// However the reader ends, the edge sees the link end and running exchanges
/// learn that nobody waits for them.
impl Drop for EdgeLink {
    fn drop(&mut self) {
        self.host.edges.remove(self.number);
        self.outbox.close();
        self.announcer.abort();
        for flow in self.flows.lock().values() {
            flow.leave();
        }
    }
}

/// Forgets an exchange's flow when its task ends, even by a panic.
struct Registered {
    flows: Flows,
    number: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.flows.lock().remove(&self.number);
    }
}
