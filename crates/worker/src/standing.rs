//! A session's standing stream (GET): what its upstreams say unasked.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use hexagram_core::Era;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::forward::present;
use crate::host::Host;
use crate::relay::{Relayed, Translation};
use crate::reply::Reply;
use crate::session::Session;
use crate::upstream::Connection;

/// Messages that wait for a client; a slower one slows its upstreams' streams.
const QUEUE: usize = 64;
/// Pause before an upstream's broken stream is opened again.
const REOPEN: Duration = Duration::from_secs(1);

/// Relays until the client leaves. Upstream streams are opened as the
/// client's upstream sessions are, not before.
pub(crate) async fn run(host: Arc<Host>, session: Arc<Session>, mut reply: Reply) {
    let flow = Arc::clone(reply.flow());
    let (sender, mut messages) = mpsc::channel(QUEUE);
    let attached = attach(host, session, sender);
    tokio::pin!(attached);
    loop {
        tokio::select! {
            () = flow.left() => return reply.end(http::StatusCode::OK),
            () = &mut attached => return reply.end(http::StatusCode::OK),
            message = messages.recv() => match message {
                Some(message) => drop(reply.event(message).await),
                None => return reply.end(http::StatusCode::OK),
            },
        }
    }
}

/// Follows every upstream session of the client, also those opened later.
async fn attach(host: Arc<Host>, session: Arc<Session>, sender: mpsc::Sender<Bytes>) {
    let mut opened = session.opened();
    let mut readers = JoinSet::new();
    let mut seen: Vec<Option<Arc<Connection>>> = vec![None; host.federation.len()];
    loop {
        let now = opened.borrow_and_update().clone();
        for (index, connection) in now.iter().enumerate() {
            let Some(connection) = connection else {
                continue;
            };
            if !seen[index]
                .as_ref()
                .is_some_and(|old| Arc::ptr_eq(old, connection))
            {
                seen[index] = Some(Arc::clone(connection));
                let reader = Reader {
                    host: Arc::clone(&host),
                    index,
                    connection: Arc::clone(connection),
                    sender: sender.clone(),
                };
                readers.spawn(reader.read());
            }
        }
        if opened.changed().await.is_err() {
            return;
        }
    }
}

/// Reads one upstream's standing stream.
struct Reader {
    host: Arc<Host>,
    index: usize,
    connection: Arc<Connection>,
    sender: mpsc::Sender<Bytes>,
}

impl Reader {
    async fn read(self) {
        while self.connection.is_open() {
            match self.connection.standing().await {
                Ok(mut incoming) => {
                    while let Some(Ok(message)) = incoming.next().await {
                        if self.relay(&message).await.is_err() {
                            return;
                        }
                    }
                }
                Err(error) => tracing::debug!(%error, "an upstream's standing stream is not open"),
            }
            tokio::time::sleep(REOPEN).await;
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
                self.sender
                    .send(present(&self.host, self.index, message))
                    .await
            }
            _ => Ok(()),
        }
    }
}
