//! How a worker is reached: the one place that knows TCP from pipes.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::DuplexStream;
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
                .map_err(|_| std::io::Error::from(std::io::ErrorKind::ConnectionRefused))?;
            Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(ours))
        }
    });
    endpoint("http://pipe".to_owned())?
        .connect_with_connector(connector)
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
