//! The dialling end.

use std::io;

use rustls::{AlertDescription, Error, InvalidMessage};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::door::WELCOME;
use crate::flaw::{Flaw, cause};
use crate::link_tls::LinkTls;
use crate::role::Role;

/// Why there is no link, and what to do.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error("this process has no certificate for links yet")]
    NotYet,
    #[error(
        "what answers there speaks no TLS, and this process was given --link-tls: give it to the \
         worker as well, or to neither"
    )]
    NoTls,
    #[error("the TLS handshake was cut off: is the worker given --link-tls as this process is?")]
    Cut,
    #[error(
        "the worker's certificate is of a CA that is not in this process's ca.crt: give both \
         certificates of the same CA"
    )]
    ForeignCa,
    #[error(
        "what answers there is no worker: its certificate is not for {}", Role::Worker.name()
    )]
    NoWorker,
    #[error("the worker's certificate has ended, or this machine's clock is wrong: renew it")]
    Ended,
    #[error(
        "the worker refuses this process's certificate: its CA is not in the worker's ca.crt: give \
         both certificates of the same CA"
    )]
    Untrusted,
    #[error("the worker refuses this process's certificate, which has ended: renew it")]
    Refused,
    #[error(
        "the worker refuses this process's certificate: it is for no role of a cluster; make one \
         with `hexagram keys link`"
    )]
    NoRole,
    #[error("no TLS with the worker: {0}")]
    Other(io::Error),
}

impl LinkTls {
    /// Connects to the worker at `address`, as `host:port`. It has let this process in when
    /// this returns; there is no limit of time.
    ///
    /// # Errors
    /// TCP's own as they are, since a refused connection tells that nobody lives there. Any
    /// other is of kind [`io::ErrorKind::InvalidData`] and says whose mistake it is.
    pub async fn connect(&self, address: &str) -> io::Result<TlsStream<TcpStream>> {
        let configs = self.configs();
        let configs = configs.ok_or_else(|| told(ConnectError::NotYet))?;
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let connector = TlsConnector::from(configs.client.clone());
        let connected = connector.connect(Role::Worker.server_name(), tcp).await;
        let mut stream = connected.map_err(|error| told(ours(error)))?;
        // With TLS 1.3 this end is through before the other has looked at its certificate.
        match stream.read_u8().await {
            Ok(WELCOME) => Ok(stream),
            Ok(_) => Err(told(ConnectError::NoWorker)),
            Err(error) => Err(told(theirs(error))),
        }
    }
}

/// Never of a kind by which a dead process is known.
fn told(error: ConnectError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Why this end does not go on.
fn ours(error: io::Error) -> ConnectError {
    match cause(&error) {
        None => ConnectError::Cut,
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => ConnectError::NoTls,
        Some(Error::InvalidCertificate(bad)) => match Flaw::of(bad) {
            Flaw::ForeignCa => ConnectError::ForeignCa,
            Flaw::Ended => ConnectError::Ended,
            Flaw::OtherRole => ConnectError::NoWorker,
            Flaw::Other => ConnectError::Other(error),
        },
        Some(_) => theirs(error),
    }
}

/// Why the other end does not go on.
fn theirs(error: io::Error) -> ConnectError {
    match cause(&error) {
        None => ConnectError::Cut,
        Some(Error::AlertReceived(alert)) => match alert {
            AlertDescription::UnknownCA | AlertDescription::DecryptError => ConnectError::Untrusted,
            AlertDescription::CertificateExpired => ConnectError::Refused,
            AlertDescription::AccessDenied
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate => ConnectError::NoRole,
            _ => ConnectError::Other(error),
        },
        Some(_) => ConnectError::Other(error),
    }
}
