//! How a worker is reached: the one place that knows TCP from pipes.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint, Error};
use tower::service_fn;

use crate::settings;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How a worker is reached.
#[derive(Debug, Clone)]
pub enum WorkerAddress {
    /// `host:port` of its gRPC server.
    Tcp(String),
    /// In this process, over in-memory pipes: the link code is the same.
    Pipe(mpsc::Sender<DuplexStream>),
    /// Over a network that only the caller knows.
    By(Connector),
}

/// A connection to a worker.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<W: AsyncRead + AsyncWrite + Send + Unpin + 'static> Wire for W {}

type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Wire>>> + Send>>;

/// Makes connections to one place.
#[derive(Clone)]
pub struct Connector {
    place: String,
    connect: Arc<dyn Fn() -> Connecting + Send + Sync>,
}

impl Connector {
    /// Makes connections to `place` with `connect`; two connectors of the same place
    /// lead to the same worker.
    pub fn new<F, W>(place: String, connect: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<W>> + Send + 'static,
        W: Wire,
    {
        let connect = move || -> Connecting {
            let connecting = connect();
            Box::pin(async { Ok(Box::new(connecting.await?) as Box<dyn Wire>) })
        };
        let connect = Arc::new(connect);
        Self { place, connect }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connector").field(&self.place).finish()
    }
}

/// Turns an address of the register's map into a way to a worker.
pub type Dial = Arc<dyn Fn(&str) -> WorkerAddress + Send + Sync>;

impl WorkerAddress {
    /// Whether it is the same place.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(ours), Self::Tcp(theirs)) => ours == theirs,
            (Self::Pipe(ours), Self::Pipe(theirs)) => ours.same_channel(theirs),
            (Self::By(ours), Self::By(theirs)) => ours.place == theirs.place,
            _ => false,
        }
    }

    /// Connects to the worker.
    ///
    /// # Errors
    /// When nobody answers there within two seconds.
    pub async fn dial(&self) -> Result<Channel, Error> {
        match self {
            Self::Tcp(host) => endpoint(format!("http://{host}"))?.connect().await,
            Self::Pipe(pipe) => through(pipe.clone()).await,
            Self::By(connector) => by(connector.clone()).await,
        }
    }
}

async fn through(pipe: mpsc::Sender<DuplexStream>) -> Result<Channel, Error> {
    let connector = service_fn(move |_| {
        let pipe = pipe.clone();
        async move {
            let (ours, theirs) = tokio::io::duplex(settings::STREAM_WINDOW as usize);
            pipe.send(theirs)
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
            Ok::<_, io::Error>(hyper_util::rt::TokioIo::new(ours))
        }
    });
    endpoint("http://pipe".to_owned())?
        .connect_with_connector(connector)
        .await
}

async fn by(connector: Connector) -> Result<Channel, Error> {
    let connect = service_fn(move |_| {
        let connecting = (connector.connect)();
        async { Ok::<_, io::Error>(hyper_util::rt::TokioIo::new(connecting.await?)) }
    });
    endpoint("http://worker".to_owned())?
        .connect_with_connector(connect)
        .await
}

fn endpoint(uri: String) -> Result<Endpoint, Error> {
    Ok(Endpoint::from_shared(uri)?
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .initial_stream_window_size(settings::STREAM_WINDOW)
        .initial_connection_window_size(settings::CONNECTION_WINDOW)
        .http2_keep_alive_interval(settings::KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(settings::KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true))
}
