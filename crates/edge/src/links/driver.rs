//! Keeps the link to one worker up. When its connection breaks, the link is taken up
//! again where it was; only when that fails are its exchanges lost.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hexagram_core::WorkerId;
use hexagram_proto::link::link_client::LinkClient;
use hexagram_proto::link::{Announce, EdgeFrame, Hello, Resume, WorkerFrame, WorkerMessage};
use hexagram_proto::{
    HELLO_TIMEOUT, HelloError, Impossible, LASTING_SINCE, Lasting, WorkerAddress, agree, explained,
    innermost, outbox, settings,
};
use hexagram_runtime::random::jittered;
use tonic::Streaming;

use super::Links;
use crate::link::Link;
use crate::slot::Loss;
use crate::trouble::Trouble;

const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(2);
/// A link whose connection broke is lost if it is not taken up again within this time
/// (DESIGN 5a).
const REJOIN: Duration = Duration::from_secs(5);
/// Between two attempts to do so.
const REJOIN_RETRY: Duration = Duration::from_millis(100);
/// What runs on such a link is lost this long after another worker serves its shard: the
/// worker may be dead, or it may have given the shard away and be done in a moment.
const SUCCEEDED: Duration = Duration::from_secs(1);

/// Why a link ended, or could not be taken up again.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("connect: {}", innermost(.0))]
    Connect(#[from] tonic::transport::Error),
    #[error("{0}")]
    Refused(#[from] HelloError),
    #[error("{0:?} answers there: the address is another worker's")]
    OtherWorker(String),
    #[error("no Hello within {} s", HELLO_TIMEOUT.as_secs())]
    Silent,
    #[error("the worker refuses this edge and says: {0}")]
    RefusedByWorker(String),
    #[error("{}", .0.message())]
    Status(Box<tonic::Status>),
    #[error("closed by the worker")]
    Closed,
    #[error("the worker was started anew, or knows nothing of this link any more")]
    Forgotten,
    #[error("{0}")]
    Impossible(#[from] Impossible),
}

impl From<tonic::Status> for LinkError {
    fn from(status: tonic::Status) -> Self {
        match status.code() {
            tonic::Code::FailedPrecondition => Self::RefusedByWorker(status.message().to_owned()),
            _ => Self::Status(Box::new(explained(status))),
        }
    }
}

impl LinkError {
    /// Whether the link may be taken up again after it. A refused connection is proof
    /// that the process died (DESIGN 8).
    fn is_passing(&self) -> bool {
        match self {
            Self::Connect(error) => !is_refused(error),
            Self::Silent | Self::Status(_) => true,
            _ => false,
        }
    }
}

fn is_refused(error: &(dyn std::error::Error + 'static)) -> bool {
    let io = error.downcast_ref::<io::Error>();
    let refused = io.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    refused || error.source().is_some_and(is_refused)
}

/// Keeps one link up.
pub(super) struct Driver {
    id: WorkerId,
    address: WorkerAddress,
    // Set while the link has a connection.
    live: Arc<ArcSwapOption<Link>>,
    // While it has none.
    trouble: Arc<Trouble>,
    links: Arc<Links>,
}

/// A link and the connection that carries it now.
struct Line {
    link: Arc<Link>,
    lasting: Lasting<EdgeFrame>,
    frames: Streaming<WorkerFrame>,
    version: u32,
    // As the worker knows the link.
    name: u64,
}

/// However a link ends, its exchanges learn it.
struct Ends(Arc<Link>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.fail(Loss::Worker);
    }
}

/// What a worker answers to a Hello.
struct Greeted {
    hello: Hello,
    version: u32,
    frames: Streaming<WorkerFrame>,
}

impl Driver {
    pub(super) fn new(
        id: WorkerId,
        address: WorkerAddress,
        live: Arc<ArcSwapOption<Link>>,
        trouble: Arc<Trouble>,
        links: Arc<Links>,
    ) -> Self {
        Self {
            id,
            address,
            live,
            trouble,
            links,
        }
    }

    pub(super) async fn run(self) {
        let mut pause = FIRST_RETRY;
        loop {
            match self.begin().await {
                Ok(line) => {
                    pause = FIRST_RETRY;
                    if self.trouble.ends() {
                        tracing::info!(worker = %self.id, "links again");
                    }
                    self.serve(line).await;
                }
                Err(error) if self.trouble.is_news(&error.to_string()) => {
                    tracing::warn!(worker = %self.id, %error, "cannot link to worker, trying again");
                }
                Err(error) => {
                    tracing::debug!(worker = %self.id, %error, retry_in = ?pause, "still no link");
                }
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(LAST_RETRY);
        }
    }

    /// A new link.
    async fn begin(&self) -> Result<Line, LinkError> {
        let (out, drained) = outbox();
        let lasting = Lasting::new(drained);
        let ours = self.links.hello();
        let keys = ours.key_fingerprints.clone();
        let greeted = self.greet(&lasting, ours).await?;
        lasting.begin(greeted.version);
        let (id, version) = (self.id.clone(), greeted.version);
        let link = Link::new(id, &greeted.hello, version, out, keys);
        Ok(Line {
            link: Arc::new(link),
            lasting,
            frames: greeted.frames,
            version,
            name: greeted.hello.link,
        })
    }

    /// Connects and greets.
    async fn greet(&self, lasting: &Lasting<EdgeFrame>, ours: Hello) -> Result<Greeted, LinkError> {
        let channel = self.address.dial().await?;
        let mut client = LinkClient::new(channel)
            .max_decoding_message_size(settings::MAX_FRAME)
            .max_encoding_message_size(settings::MAX_FRAME);
        let request = lasting.connect(ours.clone());
        let greeting = async {
            let mut frames = client.connect(request).await?.into_inner();
            let first = frames.message().await?;
            let hello = first.and_then(|frame| frame.hello);
            Ok::<_, LinkError>((hello.ok_or(HelloError::Missing)?, frames))
        };
        let (hello, frames) = tokio::time::timeout(HELLO_TIMEOUT, greeting)
            .await
            .map_err(|_| LinkError::Silent)??;
        let version = agree(&ours, &hello)?;
        if hello.name != self.id.to_string() {
            return Err(LinkError::OtherWorker(hello.name));
        }
        Ok(Greeted {
            hello,
            version,
            frames,
        })
    }

    /// Carries the link to its end.
    async fn serve(&self, mut line: Line) {
        let _ends = Ends(Arc::clone(&line.link));
        loop {
            self.up(&line.link);
            let error = self.read(&mut line).await;
            self.live.store(None);
            self.trouble.begins(error.to_string());
            self.links.report_readiness();
            match error {
                LinkError::Closed => {
                    tracing::info!(worker = %self.id, reason = %error, "link down");
                }
                _ => tracing::warn!(worker = %self.id, reason = %error, "link down"),
            }
            let lasts = line.version >= LASTING_SINCE && error.is_passing();
            if !lasts || !self.rejoin(&mut line).await {
                return;
            }
            self.links.board.metrics.rejoined.inc();
        }
    }

    fn up(&self, link: &Arc<Link>) {
        tracing::info!(worker = %self.id, "link up");
        self.live.store(Some(Arc::clone(link)));
        // One that is taken up again was told of when it went down.
        self.trouble.ends();
        self.links.board.greet(link);
        self.links.report_readiness();
    }

    /// Reads until the connection ends.
    async fn read(&self, line: &mut Line) -> LinkError {
        loop {
            let frame = match line.frames.message().await {
                Ok(Some(frame)) => frame,
                Ok(None) => return LinkError::Closed,
                Err(status) => return status.into(),
            };
            if let Err(error) = line.lasting.take(&frame) {
                return error.into();
            }
            self.hear(&line.link, frame.messages);
        }
    }

    fn hear(&self, link: &Arc<Link>, messages: Vec<WorkerMessage>) {
        self.links.board.hear(link.news(&messages));
        self.pass_on(link, link.deliver(messages));
    }

    /// Tells the other workers what this one has announced.
    fn pass_on(&self, from: &Arc<Link>, announcements: Vec<Announce>) {
        for announce in announcements {
            let live = self.links.board.live();
            for other in live.iter().filter(|link| !Arc::ptr_eq(link, from)) {
                other.announce(announce.clone());
            }
        }
    }

    /// Takes the link up again over another connection; gives whether that succeeded.
    async fn rejoin(&self, line: &mut Line) -> bool {
        let (board, link) = (&self.links.board, Arc::clone(&line.link));
        tokio::select! {
            taken = self.take_up(line) => taken,
            () = tokio::time::sleep(REJOIN) => false,
            () = board.closing.cancelled() => {
                link.fail(Loss::Edge);
                false
            }
            never = self.give_up_succeeded(&link) => match never {},
        }
    }

    async fn take_up(&self, line: &mut Line) -> bool {
        loop {
            let error = match self.take_up_once(line).await {
                Ok(()) => return true,
                Err(error) => error,
            };
            self.trouble.begins(error.to_string());
            tracing::debug!(worker = %self.id, %error, "link not taken up again");
            if !error.is_passing() {
                return false;
            }
            tokio::time::sleep(jittered(REJOIN_RETRY)).await;
        }
    }

    async fn take_up_once(&self, line: &mut Line) -> Result<(), LinkError> {
        let ours = Hello {
            resume: Some(Resume {
                link: line.name,
                received: line.lasting.received(),
            }),
            ..self.links.hello()
        };
        let Greeted { hello, frames, .. } = self.greet(&line.lasting, ours).await?;
        let resumed = hello.resume.filter(|resume| resume.link == line.name);
        let resumed = resumed.ok_or(LinkError::Forgotten)?;
        line.lasting.go_on(resumed.received)?;
        line.link.greeted(&hello);
        line.frames = frames;
        Ok(())
    }

    /// While there is no connection: gives up what belongs to shards that another
    /// worker has served for a while.
    async fn give_up_succeeded(&self, link: &Link) -> Infallible {
        let board = &self.links.board;
        let mut changes = board.changes();
        loop {
            changes.mark_unchanged();
            if link.has(|shard, epoch| board.is_past(shard, epoch)) {
                tokio::time::sleep(SUCCEEDED).await;
                link.give_up(|shard, epoch| board.is_past(shard, epoch));
            }
            // The board holds the sender, so this never fails.
            let _ = changes.changed().await;
        }
    }
}
