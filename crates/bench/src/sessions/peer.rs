//! One client's way to the endpoint: a keep-alive connection, opened when needed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::wire::Wire;

/// An address that does not even refuse is given up after this.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// The connection, while there is one.
#[derive(Debug)]
pub(super) struct Peer {
    endpoint: Arc<Endpoint>,
    wire: Option<Wire>,
    /// Second attempts.
    retries: u64,
}

impl Peer {
    pub(super) fn new(endpoint: Arc<Endpoint>) -> Self {
        Self {
            endpoint,
            wire: None,
            retries: 0,
        }
    }

    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// How often something was sent again, since this was last asked.
    pub(super) fn take_retries(&mut self) -> u64 {
        std::mem::take(&mut self.retries)
    }

    /// Gives the connection up: an answer on it is no longer waited for.
    pub(super) fn leave(&mut self) {
        self.wire = None;
    }

    /// The connection, opened if there is none.
    pub(super) async fn wire(&mut self) -> Result<&mut Wire, Failure> {
        let kept = match self.wire.take() {
            Some(mut wire) => wire.is_ready().await.then_some(wire),
            None => None,
        };
        let wire = match kept {
            Some(wire) => wire,
            None => self.connect().await?,
        };
        Ok(self.wire.insert(wire))
    }

    async fn connect(&self) -> Result<Wire, Failure> {
        let opened = timeout(CONNECT_LIMIT, Wire::open(&self.endpoint)).await;
        opened.unwrap_or_else(|_| {
            let (url, seconds) = (self.endpoint.url(), CONNECT_LIMIT.as_secs());
            Err(Failure::Connection(format!(
                "cannot connect to {url} in {seconds} s; check --url"
            )))
        })
    }

    /// Sends and waits for the head of the reply. As clients do, it sends once more on
    /// a new connection when the first one gave no byte.
    pub(super) async fn ask(
        &mut self,
        request: impl Fn() -> Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Failure> {
        match self.attempt(request()).await {
            Err(failure) if failure.is_unheard() => {
                self.start_over();
                self.attempt(request()).await
            }
            other => other,
        }
    }

    /// The next attempt is a second one, on a new connection.
    pub(super) fn start_over(&mut self) {
        self.leave();
        self.retries += 1;
    }

    async fn attempt(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Failure> {
        self.wire().await?.start(request).await
    }
}
