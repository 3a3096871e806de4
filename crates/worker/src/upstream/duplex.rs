//! A session over one pair of ordered message channels: a stdio child or an
//! rmcp handler. Sorts what comes back by the request it belongs to.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use hexagram_mcp::envelope::scan;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Incoming, UpstreamError};

/// Messages that wait for one reader; a slower client slows its own session.
const QUEUE: usize = 64;

type Sender = mpsc::Sender<Bytes>;

/// Who waits for what. Requests are ordered by age.
#[derive(Debug, Default)]
struct Waiting {
    calls: BTreeMap<u64, (Box<str>, Sender)>,
    next: u64,
    standing: Option<Sender>,
    closed: bool,
}

impl Waiting {
    fn call(&mut self, id: &str) -> Option<Sender> {
        let key = self
            .calls
            .iter()
            .find(|(_, (waiting, _))| **waiting == *id)?;
        Some(key.1.1.clone())
    }

    /// Where a message goes that names no request: the standing stream, else
    /// the newest request, whose work it most likely tells of.
    fn unrelated(&self) -> Option<Sender> {
        let newest = || {
            self.calls
                .values()
                .next_back()
                .map(|(_, sender)| sender.clone())
        };
        self.standing
            .clone()
            .filter(|sender| !sender.is_closed())
            .or_else(newest)
    }
}

/// One client's session over message channels.
#[derive(Debug)]
pub(crate) struct Duplex {
    outgoing: Sender,
    waiting: Arc<Mutex<Waiting>>,
    closed: CancellationToken,
}

impl Duplex {
    pub(super) fn new(outgoing: Sender, incoming: mpsc::Receiver<Bytes>) -> Self {
        let this = Self {
            outgoing,
            waiting: Arc::default(),
            closed: CancellationToken::new(),
        };
        tokio::spawn(sort(
            incoming,
            Arc::clone(&this.waiting),
            this.closed.clone(),
        ));
        this
    }

    /// Fires when the session is closed from our side.
    pub(super) fn closing(&self) -> CancellationToken {
        self.closed.clone()
    }

    pub(super) async fn request(&self, id: &str, body: Bytes) -> Result<Incoming, UpstreamError> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let key = {
            let mut waiting = self.waiting.lock();
            if waiting.closed {
                return Err(ended());
            }
            waiting.next += 1;
            let key = waiting.next;
            waiting.calls.insert(key, (id.into(), sender));
            key
        };
        let guard = Call {
            waiting: Arc::clone(&self.waiting),
            key,
        };
        self.send(body).await?;
        Ok(stream(receiver, Some(guard)))
    }

    pub(super) async fn send(&self, body: Bytes) -> Result<(), UpstreamError> {
        self.outgoing.send(body).await.map_err(|_| ended())
    }

    pub(super) fn standing(&self) -> Incoming {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let mut waiting = self.waiting.lock();
        if !waiting.closed {
            waiting.standing = Some(sender);
        }
        stream(receiver, None)
    }

    pub(super) fn is_open(&self) -> bool {
        !self.waiting.lock().closed
    }

    pub(super) fn close(&self) {
        self.closed.cancel();
    }
}

impl Drop for Duplex {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

fn ended() -> UpstreamError {
    UpstreamError::Unreachable("it has ended".to_owned())
}

fn stream(receiver: mpsc::Receiver<Bytes>, guard: Option<Call>) -> Incoming {
    let state = (receiver, guard);
    futures_util::stream::unfold(state, |(mut receiver, guard)| async move {
        let message = receiver.recv().await?;
        Some((Ok(message), (receiver, guard)))
    })
    .boxed()
}

/// A request that waits for its response; dropped, it waits no more.
struct Call {
    waiting: Arc<Mutex<Waiting>>,
    key: u64,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.waiting.lock().calls.remove(&self.key);
    }
}

async fn sort(
    mut incoming: mpsc::Receiver<Bytes>,
    waiting: Arc<Mutex<Waiting>>,
    closed: CancellationToken,
) {
    loop {
        let message = tokio::select! {
            message = incoming.recv() => message,
            () = closed.cancelled() => None,
        };
        let Some(message) = message else { break };
        let reader = reader(&mut waiting.lock(), &message);
        match reader {
            // A reader that left does not miss it.
            Some(reader) => drop(reader.send(message).await),
            None => tracing::debug!("an upstream's message that nobody waits for was dropped"),
        }
    }
    let mut waiting = waiting.lock();
    waiting.closed = true;
    waiting.calls.clear();
    waiting.standing = None;
}

fn reader(waiting: &mut Waiting, message: &[u8]) -> Option<Sender> {
    let envelope = scan(message)
        .inspect_err(|error| tracing::warn!(%error, "an upstream sent what is not JSON-RPC"))
        .ok()?;
    if envelope.kind.is_response() {
        return waiting.call(envelope.id?.as_str());
    }
    let token = envelope.progress_token.as_ref();
    token
        .and_then(|token| waiting.call(token.as_str()))
        .or_else(|| waiting.unrelated())
}
