//! A session's standing stream (GET): what its upstreams say unasked.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use hexagram_core::Era;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::host::Host;
use crate::relay::{Relayed, Translation};
use crate::reply::Reply;
use crate::session::Session;
use crate::upstream::{Connection, UpstreamError};

/// Messages that wait for a client; a slower one slows its upstreams' streams.
const QUEUE: usize = 64;
/// Pause before an upstream's broken stream is opened again, doubled each time.
const FIRST_REOPEN: Duration = Duration::from_millis(500);
const LAST_REOPEN: Duration = Duration::from_secs(30);

/// Relays until the client leaves. Upstream streams are opened as the
/// client's upstream sessions are, not before.
pub(crate) async fn run(host: Arc<Host>, session: Arc<Session>, mut reply: Reply) {
    let flow = Arc::clone(reply.flow());
    let (sender, mut messages) = mpsc::channel(QUEUE);
    let attached = attach(host, Arc::clone(&session), sender);
    tokio::pin!(attached);
    loop {
        tokio::select! {
            () = flow.left() => return reply.end(http::StatusCode::OK),
            () = session.closed() => return reply.end(http::StatusCode::OK),
            () = &mut attached => return reply.end(http::StatusCode::OK),
            message = messages.recv() => match message {
                Some(message) => drop(reply.event(message).await),
                None => return reply.end(http::StatusCode::OK),
            },
        }
    }
}

/// Follows every upstream session of the client, also those opened later. A
/// session opened in another's place ends the old one's reader.
async fn attach(host: Arc<Host>, session: Arc<Session>, sender: mpsc::Sender<Bytes>) {
    let mut opened = session.opened();
    let mut readers: Vec<Option<Attached>> = (0..host.federation.len()).map(|_| None).collect();
    loop {
        let now = opened.borrow_and_update().clone();
        for (index, connection) in now.into_iter().enumerate() {
            let Some(connection) = connection else {
                continue;
            };
            let reads = |attached: &Attached| Arc::ptr_eq(&attached.connection, &connection);
            if !readers[index].as_ref().is_some_and(reads) {
                let reader = Reader {
                    host: Arc::clone(&host),
                    session: Arc::clone(&session),
                    index,
                    connection: Arc::clone(&connection),
                    sender: sender.clone(),
                };
                readers[index] = Some(Attached {
                    connection,
                    task: tokio::spawn(reader.read()),
                });
            }
        }
        if opened.changed().await.is_err() {
            return;
        }
    }
}

/// A reader at work; dropped, it stops.
struct Attached {
    connection: Arc<Connection>,
    task: JoinHandle<()>,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads one upstream's standing stream.
struct Reader {
    host: Arc<Host>,
    session: Arc<Session>,
    index: usize,
    connection: Arc<Connection>,
    sender: mpsc::Sender<Bytes>,
}

impl Reader {
    async fn read(self) {
        let mut pause = FIRST_REOPEN;
        loop {
            match self.connection.standing().await {
                Ok(mut incoming) => {
                    pause = FIRST_REOPEN;
                    while let Some(Ok(message)) = incoming.next().await {
                        if self.relay(&message).await.is_err() {
                            return;
                        }
                    }
                }
                Err(UpstreamError::SessionGone) => return self.renew().await,
                Err(error) => tracing::debug!(%error, "an upstream's standing stream is not open"),
            }
            if !self.connection.is_open() {
                return self.renew().await;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_REOPEN);
        }
    }

    /// Opens a new upstream session in place of one that is gone: a client that
    /// only listens would never notice. The new one gets a reader of its own.
    async fn renew(self) {
        let upstream = self.host.federation.get(self.index);
        self.session.forget(self.index, &self.connection).await;
        let mut pause = FIRST_REOPEN;
        while let Err(error) = self.session.connection(self.index, upstream).await {
            tracing::debug!(upstream = upstream.name(), %error, "upstream session not renewed");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_REOPEN);
        }
    }

    async fn relay(&self, message: &Bytes) -> Result<(), mpsc::error::SendError<Bytes>> {
        let translation = Translation {
            upstream: self.host.federation.get(self.index).name(),
            our_id: None,
            client_id: None,
            client_token: None,
            era: Era::Legacy,
        };
        match translation.translate(message) {
            Relayed::Message(message) => {
                let message = self.host.federation.present(self.index, message);
                self.sender.send(message).await
            }
            Relayed::Garbage(error) => {
                tracing::warn!(
                    upstream = translation.upstream,
                    error,
                    "dropped what is not MCP"
                );
                Ok(())
            }
            Relayed::Response(_) | Relayed::Refuse(_) | Relayed::Drop => Ok(()),
        }
    }
}
