//! A worker that says what the test says, over a real link.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::ready;
use futures_util::stream::once;
use futures_util::{Stream, StreamExt};
use hexagram_core::{Incarnation, ShardCount};
use hexagram_edge::WorkerAddress;
use hexagram_proto::link::link_server::{self, LinkServer};
use hexagram_proto::link::worker_message::Kind;
use hexagram_proto::link::{
    Active, Announce, EdgeFrame, End, Event, Head, Hello, Misdirected, Open, Owned, Reattach,
    Resumed, Start, WorkerFrame, WorkerMessage, edge_message,
};
use hexagram_proto::{Outbox, frames, hello, outbox};
use parking_lot::Mutex;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::wait::within;

/// Links and messages that wait for the test to look at them.
const QUEUE: usize = 256;
/// The one shard of these clusters.
pub(crate) const SHARD: u32 = 0;

/// What a worker that is down says to an edge.
pub(crate) const DOWN: &str = "down";

/// The test's end of a worker.
pub(crate) struct Worker {
    name: &'static str,
    pub(crate) address: WorkerAddress,
    hello: Arc<Mutex<Hello>>,
    down: Arc<AtomicBool>,
    broken: Arc<AtomicBool>,
    lines: ReceiverStream<Line>,
    line: Option<Line>,
}

/// A link while it is up.
struct Line {
    outbox: Outbox<WorkerMessage>,
    heard: ReceiverStream<edge_message::Kind>,
}

impl Worker {
    /// A worker that serves the shard in `epoch`; 0: it does not.
    pub(crate) fn start(name: &'static str, epoch: u64) -> Self {
        let shards = ShardCount::try_from(1).unwrap();
        let incarnation = Incarnation::new(1).unwrap();
        let hello = hello(super::CLUSTER, name, shards, incarnation, &[]);
        let (to_lines, lines) = mpsc::channel(QUEUE);
        let hello = Arc::new(Mutex::new(hello));
        let down = Arc::new(AtomicBool::new(false));
        let broken = Arc::new(AtomicBool::new(false));
        let service = Service {
            hello: Arc::clone(&hello),
            down: Arc::clone(&down),
            broken: Arc::clone(&broken),
            lines: to_lines,
        };
        let (pipe, pipes) = mpsc::channel::<DuplexStream>(1);
        let incoming = ReceiverStream::new(pipes).map(Ok::<_, std::io::Error>);
        let server = tonic::transport::Server::builder().add_service(LinkServer::new(service));
        tokio::spawn(server.serve_with_incoming(incoming));
        let mut this = Self {
            name,
            address: WorkerAddress::Pipe(pipe),
            hello,
            down,
            broken,
            lines: ReceiverStream::new(lines),
            line: None,
        };
        this.owns(epoch);
        this
    }

    /// What its next Hello says of the shard.
    pub(crate) fn owns(&mut self, epoch: u64) {
        let shard = SHARD;
        let owned = (epoch > 0).then_some(Owned { shard, epoch });
        self.hello.lock().owned = owned.into_iter().collect();
        self.down.store(false, Ordering::Release);
    }

    /// Takes the link that the edge makes, if none is up.
    pub(crate) async fn linked(&mut self) {
        if self.line.is_none() {
            let what = format!("a link to {}", self.name);
            self.line = Some(within(what, self.lines.next()).await.unwrap());
        }
    }

    /// The worker is gone until it owns a shard.
    pub(crate) fn cut(&mut self) {
        self.down.store(true, Ordering::Release);
        let line = self.line.take().unwrap();
        line.outbox.close();
    }

    /// As [`Self::cut`], but it does not end the link: the connection breaks.
    pub(crate) fn lose(&mut self) {
        self.broken.store(true, Ordering::Release);
        self.cut();
    }

    async fn heard(&mut self) -> edge_message::Kind {
        self.linked().await;
        let what = format!("a message at {}", self.name);
        let line = self.line.as_mut().unwrap();
        within(what, line.heard.next()).await.unwrap()
    }

    /// The next message that the edge sends for a client.
    pub(crate) async fn opened(&mut self) -> Open {
        loop {
            if let edge_message::Kind::Open(open) = self.heard().await {
                return open;
            }
        }
    }

    /// Waits for what another worker announced: by then the edge has heard all
    /// that the other said before. Nothing was sent for a client meanwhile.
    pub(crate) async fn announced(&mut self) {
        match self.heard().await {
            edge_message::Kind::Announce(_) => {}
            other => panic!("{} got {other:?}", self.name),
        }
    }

    pub(crate) fn announce(&self) {
        self.say(Kind::Announce(Announce::default()));
    }

    pub(crate) fn say(&self, kind: Kind) {
        let message = WorkerMessage { kind: Some(kind) };
        self.line.as_ref().unwrap().outbox.push(message).unwrap();
    }

    pub(crate) fn active(&self, epoch: u64) {
        self.say(Kind::Active(Active {
            shard: SHARD,
            epoch,
        }));
    }

    pub(crate) fn resumed(&self, epoch: u64) {
        self.say(Kind::Resumed(Resumed {
            shard: SHARD,
            epoch,
        }));
    }

    /// It is frozen: the message is to wait.
    pub(crate) fn is_moving(&self, open: &Open) {
        self.say(Kind::Misdirected(Misdirected {
            exchange: open.exchange,
            shard: SHARD,
            epoch: open.epoch + 1,
            to: "worker-b".to_owned(),
            moving: true,
        }));
    }

    /// Another worker serves the shard in `epoch`; 0: nobody that it knows of.
    pub(crate) fn redirect(&self, open: &Open, to: &str, epoch: u64) {
        self.say(Kind::Misdirected(Misdirected {
            exchange: open.exchange,
            shard: SHARD,
            epoch,
            to: to.to_owned(),
            moving: false,
        }));
    }

    pub(crate) fn reattach(&self, open: &Open) {
        let exchange = open.exchange;
        self.say(Kind::Reattach(Reattach { exchange }));
    }

    /// The exchange's only answer.
    pub(crate) fn answer(&self, open: &Open, text: &'static str) {
        self.event(open, text, "", true);
    }

    pub(crate) fn start_at(&self, open: &Open, event_id: &str) {
        self.say(Kind::Start(Start {
            exchange: open.exchange,
            event_id: event_id.to_owned(),
            retry_ms: 0,
        }));
    }

    pub(crate) fn event(&self, open: &Open, text: &'static str, event_id: &str, last: bool) {
        self.say(Kind::Event(Event {
            exchange: open.exchange,
            data: text.into(),
            last,
            event_id: event_id.to_owned(),
            ..Event::default()
        }));
    }

    /// A refusal.
    pub(crate) fn refuse(&self, open: &Open, status: u32, text: &'static str) {
        self.say(Kind::Event(Event {
            exchange: open.exchange,
            data: text.into(),
            last: true,
            head: Some(Head {
                status,
                ..Head::default()
            }),
            ..Event::default()
        }));
    }

    /// The first half of a message.
    pub(crate) fn half(&self, open: &Open, text: &'static str) {
        self.say(Kind::Event(Event {
            exchange: open.exchange,
            data: text.into(),
            more: true,
            ..Event::default()
        }));
    }

    pub(crate) fn end(&self, open: &Open) {
        self.say(Kind::End(End {
            exchange: open.exchange,
            head: None,
        }));
    }
}

struct Service {
    hello: Arc<Mutex<Hello>>,
    down: Arc<AtomicBool>,
    broken: Arc<AtomicBool>,
    lines: mpsc::Sender<Line>,
}

type Frames = Pin<Box<dyn Stream<Item = Result<WorkerFrame, Status>> + Send>>;

#[tonic::async_trait]
impl link_server::Link for Service {
    type ConnectStream = Frames;

    async fn connect(
        &self,
        request: Request<Streaming<EdgeFrame>>,
    ) -> Result<Response<Frames>, Status> {
        if self.down.load(Ordering::Acquire) {
            return Err(Status::unavailable(DOWN));
        }
        let mut incoming = request.into_inner();
        let (outbox, drained) = outbox();
        let (to_heard, heard) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            while let Ok(Some(frame)) = incoming.message().await {
                let kinds = frame
                    .messages
                    .into_iter()
                    .filter_map(|message| message.kind);
                for kind in kinds {
                    // A test that has ended listens no more.
                    let _ = to_heard.send(kind).await;
                }
            }
        });
        let heard = ReceiverStream::new(heard);
        let _ = self.lines.send(Line { outbox, heard }).await;
        let hello = self.hello.lock().clone();
        let broken = Arc::clone(&self.broken);
        let end = once(async move {
            let is_broken = broken.load(Ordering::Acquire);
            is_broken.then(|| Status::unavailable("broken"))
        });
        let end = end.filter_map(ready).map(Err);
        let frames = frames::<WorkerFrame>(hello, drained).map(Ok);
        Ok(Response::new(Box::pin(frames.chain(end))))
    }
}
