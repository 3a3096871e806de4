//! One keep-alive connection and, in the legacy era, its session.

use std::sync::Arc;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use hyper::body::Incoming;

use crate::era::Era;
use crate::failure::Failure;
use crate::handshake::{INITIALIZE_ID, farewell, handshake, has_session};
use crate::target::Target;
use crate::wire::{Received, Wire};

/// What a standing stream is asked for with.
pub(crate) const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// A connection that makes one call at a time, and opens itself again when the
/// server closed it or forgot its session.
#[derive(Debug)]
pub struct Connection {
    target: Arc<Target>,
    wire: Wire,
    headers: HeaderMap,
    last_id: u64,
    session_lost: bool,
    // The standing stream; nothing else goes over the connection meanwhile.
    listening: Option<Incoming>,
}

impl Connection {
    /// Connects, and in the legacy era starts a session.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the session.
    pub async fn open(target: Arc<Target>) -> Result<Self, Failure> {
        let endpoint = target.endpoint();
        let mut wire = Wire::open(endpoint).await?;
        let mut headers = target.headers().clone();
        if target.era() == Era::Legacy {
            handshake(endpoint, &mut wire, &mut headers).await?;
        }
        Ok(Self {
            target,
            wire,
            headers,
            last_id: INITIALIZE_ID,
            session_lost: false,
            listening: None,
        })
    }

    /// Makes one call and checks its answer.
    ///
    /// # Errors
    /// Any answer but the right one, and a connection that broke.
    pub async fn call(&mut self) -> Result<(), Failure> {
        if self.session_lost || !self.wire.is_ready().await {
            *self = Self::open(self.target.clone()).await?;
        }
        self.last_id += 1;
        let body = self.target.call(self.last_id);
        let headers = self.headers.clone();
        let request = self.target.endpoint().request(Method::POST, headers, body);
        let received = self.wire.send(request).await?;
        let outcome = received
            .reply()
            .check_call(self.last_id, self.target.text());
        if let Err(failure) = &outcome {
            self.session_lost = self.target.era() == Era::Legacy && failure.is_session_lost();
        }
        outcome
    }

    /// Opens the session's standing stream and keeps it, unread.
    ///
    /// # Errors
    /// When the server offers none.
    pub async fn listen(&mut self) -> Result<(), Failure> {
        let mut headers = self.headers.clone();
        headers.insert(ACCEPT, EVENTS);
        let endpoint = self.target.endpoint();
        let request = endpoint.request(Method::GET, headers, Bytes::new());
        let response = self.wire.start(request).await?;
        if response.status() != StatusCode::OK {
            let refused = Received::read(response, |_| false).await.whole()?;
            return Err(refused.reply().refusal());
        }
        self.listening = Some(response.into_body());
        Ok(())
    }

    /// Ends the session, if there is one, and closes.
    ///
    /// # Errors
    /// When the server refuses the DELETE otherwise than by 405, which only
    /// says that its sessions end by themselves.
    pub async fn close(mut self) -> Result<(), Failure> {
        let endpoint = self.target.endpoint();
        if self.listening.take().is_some() {
            self.wire = Wire::open(endpoint).await?;
        }
        if !has_session(&self.headers) || self.wire.is_closed() {
            return Ok(());
        }
        farewell(endpoint, &mut self.wire, &self.headers).await
    }
}
