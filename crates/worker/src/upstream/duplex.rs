//! A session over one pair of ordered message channels: a stdio child or an
//! rmcp handler. Sorts what comes back by the request it belongs to.

mod waiting;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use hexagram_mcp::envelope::scan;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::export::Export;
use super::{Incoming, UpstreamError};
use waiting::{Audience, Item, Waiting};

/// One client's session over message channels.
#[derive(Debug)]
pub(crate) struct Duplex {
    outgoing: mpsc::Sender<Bytes>,
    waiting: Arc<Mutex<Waiting>>,
    closed: CancellationToken,
    silence: Duration,
    export: Option<Export>,
}

impl Duplex {
    /// `silence` is the longest pause allowed while a request is sent or answered.
    pub(super) fn new(
        outgoing: mpsc::Sender<Bytes>,
        incoming: mpsc::Receiver<Bytes>,
        silence: Duration,
    ) -> Self {
        let this = Self {
            outgoing,
            silence,
            waiting: Arc::default(),
            closed: CancellationToken::new(),
            export: None,
        };
        let sorter = Sorter {
            outgoing: this.outgoing.clone(),
            waiting: Arc::clone(&this.waiting),
        };
        tokio::spawn(sorter.run(incoming, this.closed.clone()));
        this
    }

    /// With what exports the state of who answers.
    pub(super) fn exporting(mut self, export: Export) -> Self {
        self.export = Some(export);
        self
    }

    /// What it takes to go on in another process.
    pub(crate) fn exported(&self) -> Option<Bytes> {
        self.export.as_ref()?.now()
    }

    /// Fires when the session is closed from our side.
    pub(super) fn closing(&self) -> CancellationToken {
        self.closed.clone()
    }

    /// Sends a client's request.
    pub(super) async fn request(&self, id: &str, body: Bytes) -> Result<Incoming, UpstreamError> {
        self.call(id, body, Audience::Client).await
    }

    /// Sends a request of ours: messages for a client go to it last.
    pub(super) async fn ask(&self, id: &str, body: Bytes) -> Result<Incoming, UpstreamError> {
        self.call(id, body, Audience::Ourselves).await
    }

    async fn call(
        &self,
        id: &str,
        body: Bytes,
        audience: Audience,
    ) -> Result<Incoming, UpstreamError> {
        let (key, receiver) = self.waiting.lock().begin(id, audience).ok_or_else(ended)?;
        let call = Call {
            waiting: Arc::clone(&self.waiting),
            key,
        };
        self.send(body).await?;
        Ok(answers(receiver, call, self.silence))
    }

    pub(super) async fn send(&self, body: Bytes) -> Result<(), UpstreamError> {
        tokio::time::timeout(self.silence, self.outgoing.send(body))
            .await
            .map_err(|_| self.deaf())?
            .map_err(|_| ended())
    }

    /// The message was not even taken, so nothing has come of it.
    fn deaf(&self) -> UpstreamError {
        let seconds = self.silence.as_secs();
        UpstreamError::Unreachable(format!("it has read nothing for {seconds} s"))
    }

    pub(super) fn standing(&self) -> Incoming {
        let receiver = self.waiting.lock().stand();
        futures_util::stream::unfold(receiver, |mut receiver| async move {
            let message = receiver.recv().await?;
            Some((message, receiver))
        })
        .boxed()
    }

    pub(super) fn is_open(&self) -> bool {
        !self.closed.is_cancelled() && !self.waiting.lock().is_closed()
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

/// What comes back for one request.
fn answers(receiver: mpsc::Receiver<Item>, call: Call, silence: Duration) -> Incoming {
    let state = Some((receiver, call));
    futures_util::stream::unfold(state, move |state| async move {
        let (mut receiver, call) = state?;
        match tokio::time::timeout(silence, receiver.recv()).await {
            Ok(message) => Some((message?, Some((receiver, call)))),
            Err(_) => Some((Err(UpstreamError::Silent(silence)), None)),
        }
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
        self.waiting.lock().forget(self.key);
    }
}

/// Hands what comes in to its readers. One task serves all requests of the
/// session, so it waits for none of them.
struct Sorter {
    outgoing: mpsc::Sender<Bytes>,
    waiting: Arc<Mutex<Waiting>>,
}

impl Sorter {
    async fn run(self, mut incoming: mpsc::Receiver<Bytes>, closed: CancellationToken) {
        let sorted = async {
            while let Some(message) = incoming.recv().await {
                self.sort(&message);
            }
        };
        closed.run_until_cancelled(sorted).await;
        self.waiting.lock().close();
    }

    fn sort(&self, message: &Bytes) {
        let envelope = match scan(message) {
            Ok(envelope) => envelope,
            Err(error) => return tracing::warn!(%error, "an upstream sent what is not JSON-RPC"),
        };
        let answer = self.waiting.lock().sort(message, &envelope);
        let sent = answer.map_or(Ok(()), |answer| self.outgoing.try_send(answer));
        if sent.is_err() {
            tracing::debug!("an upstream that does not read got no answer");
        }
    }
}
