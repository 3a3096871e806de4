//! Sockets of the simulated network, and the ways in which the product's code uses
//! them.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use hexagram_control::{Ask, SourceError};
use hexagram_proto::{Connector, Dial, WorkerAddress};
use hexagram_runtime::listener::Listener;
use http::header::HOST;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;
use turmoil::net::{TcpListener, TcpStream};

use super::stage::{Down, Here};

/// A refusal takes a way there and back.
const REFUSAL: Duration = Duration::from_millis(1);
/// A connection request that nobody answers is repeated.
const AGAIN: Duration = Duration::from_millis(500);

/// One end of a connection. Nothing leaves a process after its death.
pub(super) struct Wire {
    stream: TcpStream,
    here: Here,
}

/// Connects to a port of a host.
///
/// The simulated network drops a connection request that meets a broken path or a dead
/// host, and calls that a refusal. Only a living machine refuses: who asks any other
/// waits, as with TCP, until he is tired of it.
pub(super) async fn connect(here: &Here, to: &str, port: u16) -> io::Result<Wire> {
    loop {
        let is_dropped = || match here.stage.down(to) {
            Some(Down::Refuses) => Some(true),
            Some(Down::Silent) => Some(false),
            None => here.stage.is_cut(&here.name, to).then_some(false),
        };
        match is_dropped() {
            Some(true) => {
                sleep(REFUSAL).await;
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            Some(false) => sleep(AGAIN).await,
            None => match TcpStream::connect((to, port)).await {
                Ok(stream) => {
                    let here = here.clone();
                    return Ok(Wire { stream, here });
                }
                Err(error) if is_dropped().is_none() => return Err(error),
                Err(_) => {}
            },
        }
    }
}

/// How workers are reached from here.
pub(super) fn dial(here: &Here) -> Dial {
    let here = here.clone();
    Arc::new(move |address| {
        let (here, place) = (here.clone(), address.to_owned());
        let connect = move || {
            let (here, place) = (here.clone(), place.clone());
            async move {
                let (host, port) = split(&place)?;
                connect(&here, host, port).await
            }
        };
        WorkerAddress::By(Connector::new(address.to_owned(), connect))
    })
}

fn split(place: &str) -> io::Result<(&str, u16)> {
    let split = place
        .split_once(':')
        .and_then(|(host, port)| Some((host, port.parse().ok()?)));
    split.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// How a controller is asked from here.
pub(super) fn ask(here: &Here, to: &'static str, port: u16) -> Ask {
    let here = here.clone();
    Arc::new(move |request| {
        let here = here.clone();
        Box::pin(async move {
            let wire = connect(&here, to, port).await.map_err(unanswered)?;
            let mut http = Http::over(wire).await.map_err(unanswered)?;
            let answer = http.send(request).await.map_err(unanswered)?;
            let (head, body) = answer.into_parts();
            let body = body.collect().await.map_err(unanswered)?;
            Ok(Response::from_parts(head, body.to_bytes()))
        })
    })
}

fn unanswered(error: impl std::error::Error + Send + Sync + 'static) -> SourceError {
    SourceError::Http(Box::new(error))
}

/// An HTTP/1.1 connection.
pub(super) struct Http {
    sender: hyper::client::conn::http1::SendRequest<Full<Bytes>>,
    _connection: AbortOnDropHandle<()>,
}

impl Http {
    pub(super) async fn over(wire: Wire) -> hyper::Result<Self> {
        let io = TokioIo::new(wire);
        let (sender, connection) = hyper::client::conn::http1::handshake(io).await?;
        let connection = tokio::spawn(async move {
            // Whoever waits for an answer hears of it.
            let _ = connection.await;
        });
        Ok(Self {
            sender,
            _connection: AbortOnDropHandle::new(connection),
        })
    }

    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Sends a request; the connection lives until its answer is read.
    pub(super) async fn send(
        &mut self,
        mut request: Request<Bytes>,
    ) -> hyper::Result<Response<hyper::body::Incoming>> {
        let path = request.uri().path_and_query();
        let path = path.map_or("/", |path| path.as_str()).to_owned();
        *request.uri_mut() = Uri::try_from(path).unwrap_or_default();
        let host = HeaderValue::from_static("localhost");
        request.headers_mut().insert(HOST, host);
        self.sender.ready().await?;
        self.sender.send_request(request.map(Full::new)).await
    }
}

/// Where a process of the cluster is connected to.
pub(super) struct Door {
    listener: TcpListener,
    here: Here,
}

impl Door {
    pub(super) async fn open(here: &Here, port: u16) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(("0.0.0.0", port)).await?,
            here: here.clone(),
        })
    }

    /// The connections, as a gRPC server takes them.
    pub(super) fn incoming(self) -> impl Stream<Item = io::Result<Wire>> {
        futures_util::stream::unfold(self, |door| async {
            let accepted = door.accept().await.map(|(wire, _)| wire);
            Some((accepted, door))
        })
    }
}

impl Listener for Door {
    type Stream = Wire;

    async fn accept(&self) -> io::Result<(Wire, SocketAddr)> {
        let (stream, peer) = self.listener.accept().await?;
        let here = self.here.clone();
        Ok((Wire { stream, here }, peer))
    }

    fn close(self) -> io::Result<impl Iterator<Item = (Wire, SocketAddr)>> {
        Ok(std::iter::empty())
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.here.is_dead() {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.here.is_dead() {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.here.is_dead() {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
