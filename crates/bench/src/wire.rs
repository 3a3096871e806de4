//! One keep-alive connection, and a reply read from it.

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::reply::Reply;

/// An HTTP/1.1 connection; one request at a time.
#[derive(Debug)]
pub(crate) struct Wire {
    sender: SendRequest<Full<Bytes>>,
}

impl Wire {
    pub(crate) async fn open(endpoint: &Endpoint) -> Result<Self, Failure> {
        let stream = TcpStream::connect(endpoint.address())
            .await
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|error| Failure::connect(endpoint.url(), &error))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // A broken connection shows at the caller, as the failure of its call.
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Whether another request can be sent; waits for the end of the last one.
    pub(crate) async fn is_ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Sends a request and waits for the head of its reply.
    pub(crate) async fn start(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Failure> {
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }

    /// Sends a request and reads the whole reply.
    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Received, Failure> {
        let response = self.start(request).await?;
        Received::read(response, |_| false).await.whole()
    }
}

/// A reply, as much of it as came.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Why it is not complete.
    cut: Option<Failure>,
}

impl Received {
    /// Reads `response` to its end, or until it `suffices`.
    pub(crate) async fn read(
        response: Response<Incoming>,
        suffices: impl Fn(Reply<'_>) -> bool,
    ) -> Self {
        let (parts, mut incoming) = response.into_parts();
        let mut received = Self {
            status: parts.status,
            headers: parts.headers,
            body: Bytes::new(),
            cut: None,
        };
        while let Some(frame) = incoming.frame().await {
            match frame {
                Ok(frame) => received.add(frame.into_data().unwrap_or_default()),
                Err(error) => received.cut = Some(Failure::Broken(error.to_string())),
            }
            if received.cut.is_some() || suffices(received.reply()) {
                break;
            }
        }
        received
    }

    fn add(&mut self, piece: Bytes) {
        if self.body.is_empty() {
            self.body = piece;
        } else {
            let mut both = BytesMut::from(std::mem::take(&mut self.body));
            both.extend_from_slice(&piece);
            self.body = both.freeze();
        }
    }

    /// The reply, if it is complete.
    pub(crate) fn whole(self) -> Result<Self, Failure> {
        match self.cut {
            Some(cut) => Err(cut),
            None => Ok(self),
        }
    }

    pub(crate) fn reply(&self) -> Reply<'_> {
        Reply {
            status: self.status,
            is_stream: is_stream(&self.headers),
            body: &self.body,
        }
    }
}

/// Whether the reply is a stream of server-sent events.
pub(crate) fn is_stream(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}
