//! A link over the connections that carry it: one that breaks is waited for a while,
//! and its edge takes the link up again (DESIGN 5a, "Link lost").

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hexagram_proto::link::{EdgeFrame, Hello, Resume, WorkerFrame};
use hexagram_proto::{LASTING_SINCE, Lasting, Sending};
use hexagram_runtime::random;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tonic::{Status, Streaming};

/// How long what runs on a link is kept for its edge after the connection broke.
const LINGER: Duration = Duration::from_secs(5);

/// The links of a worker that can be taken up again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<HashMap<u64, Known>>>);

/// How a link is reached by its edge.
#[derive(Debug)]
struct Known {
    edge: u64,
    lost: bool,
    rejoin: mpsc::Sender<Rejoin>,
}

/// An edge that goes on with a link over a new connection.
#[derive(Debug)]
pub(crate) struct Rejoin {
    /// What is said to it.
    hello: Hello,
    /// How many of our frames it has.
    received: u64,
    incoming: Streaming<EdgeFrame>,
    answer: oneshot::Sender<Sending<WorkerFrame>>,
}

impl Lines {
    /// A link begins, of an edge with this Hello, in this version.
    pub(crate) fn begin(
        &self,
        edge: &Hello,
        version: u32,
        lasting: Lasting<WorkerFrame>,
        incoming: Streaming<EdgeFrame>,
    ) -> Line {
        let (rejoin, rejoins) = mpsc::channel(1);
        let name = match version >= LASTING_SINCE {
            true => u64::from_ne_bytes(random::bytes()),
            false => 0,
        };
        let mut known = self.0.lock();
        // One that is lost and not taken up is forgotten by its edge.
        known.retain(|_, line| !(line.lost && line.edge == edge.incarnation));
        if name != 0 {
            let edge = edge.incarnation;
            let lost = false;
            known.insert(name, Known { edge, lost, rejoin });
        }
        drop(known);
        Line {
            name,
            lasting,
            connection: Connection::Up(incoming),
            rejoins,
            all: self.clone(),
        }
    }

    /// Goes on with a link, if it is known and this edge's.
    ///
    /// # Errors
    /// The connection, where the edge has to begin anew.
    pub(crate) async fn go_on(
        &self,
        edge: &Hello,
        resume: &Resume,
        hello: Hello,
        incoming: Streaming<EdgeFrame>,
    ) -> Result<Option<Sending<WorkerFrame>>, Streaming<EdgeFrame>> {
        let known = self.of(resume.link, edge.incarnation);
        let Some(line) = known else {
            return Err(incoming);
        };
        let (answer, answered) = oneshot::channel();
        let rejoin = Rejoin {
            hello,
            received: resume.received,
            incoming,
            answer,
        };
        match line.send(rejoin).await {
            Ok(()) => Ok(answered.await.ok()),
            Err(mpsc::error::SendError(rejoin)) => Err(rejoin.incoming),
        }
    }

    fn of(&self, name: u64, edge: u64) -> Option<mpsc::Sender<Rejoin>> {
        let known = self.0.lock();
        let line = known.get(&name).filter(|line| line.edge == edge)?;
        Some(line.rejoin.clone())
    }

    fn lose(&self, name: u64, lost: bool) {
        if let Some(line) = self.0.lock().get_mut(&name) {
            line.lost = lost;
        }
    }
}

/// One link, as its reader has it.
pub(crate) struct Line {
    /// The link's name; 0 where it ends with its connection.
    pub(crate) name: u64,
    lasting: Lasting<WorkerFrame>,
    connection: Connection,
    rejoins: mpsc::Receiver<Rejoin>,
    all: Lines,
}

enum Connection {
    Up(Streaming<EdgeFrame>),
    /// It broke; the link is over at this time.
    Lost {
        reason: String,
        until: Instant,
    },
}

/// What happens next on a link.
enum Next {
    Frame(Result<Option<EdgeFrame>, Status>),
    Rejoin(Rejoin),
    Over,
}

impl Line {
    /// The next frame. Safe to be dropped: no frame is lost by it.
    ///
    /// # Errors
    /// The reason of the link's end.
    pub(crate) async fn frame(&mut self) -> Result<EdgeFrame, String> {
        loop {
            match self.next().await {
                Next::Frame(Ok(Some(frame))) => {
                    let taken = self.taken(&frame);
                    return taken.map(|()| frame);
                }
                Next::Frame(Ok(None)) => return Err("closed by the edge".to_owned()),
                Next::Frame(Err(status)) => self.lose(status.message())?,
                Next::Rejoin(rejoin) => self.rejoin(rejoin)?,
                Next::Over => return Err(self.reason()),
            }
        }
    }

    async fn next(&mut self) -> Next {
        let lasts = self.name != 0;
        match &mut self.connection {
            Connection::Up(incoming) => tokio::select! {
                frame = incoming.message() => Next::Frame(frame),
                Some(rejoin) = self.rejoins.recv(), if lasts => Next::Rejoin(rejoin),
            },
            Connection::Lost { until, .. } => tokio::select! {
                rejoin = self.rejoins.recv() => rejoin.map_or(Next::Over, Next::Rejoin),
                () = tokio::time::sleep_until(*until) => Next::Over,
            },
        }
    }

    fn taken(&self, frame: &EdgeFrame) -> Result<(), String> {
        let taken = self.lasting.take(frame);
        taken.map_err(|impossible| impossible.to_string())
    }

    /// The connection broke. What is said meanwhile waits.
    fn lose(&mut self, reason: &str) -> Result<(), String> {
        if self.name == 0 {
            return Err(reason.to_owned());
        }
        tracing::info!(reason, "link lost, its edge may come back");
        self.all.lose(self.name, true);
        self.connection = Connection::Lost {
            reason: reason.to_owned(),
            until: Instant::now() + LINGER,
        };
        Ok(())
    }

    /// The edge is back, over another connection.
    fn rejoin(&mut self, rejoin: Rejoin) -> Result<(), String> {
        let resume = Resume {
            link: self.name,
            received: self.lasting.received(),
        };
        let hello = Hello {
            link: self.name,
            resume: Some(resume),
            ..rejoin.hello
        };
        let sending = self.lasting.connect(hello);
        let gone_on = self.lasting.go_on(rejoin.received);
        gone_on.map_err(|impossible| impossible.to_string())?;
        tracing::info!("link taken up again");
        self.all.lose(self.name, false);
        self.connection = Connection::Up(rejoin.incoming);
        // An edge that has given up already is noticed by its connection.
        let _ = rejoin.answer.send(sending);
        Ok(())
    }

    fn reason(&self) -> String {
        match &self.connection {
            Connection::Lost { reason, .. } => reason.clone(),
            Connection::Up(_) => "forgotten by the edge".to_owned(),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.all.0.lock().remove(&self.name);
    }
}
