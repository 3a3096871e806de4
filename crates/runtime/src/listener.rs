//! Where a server's clients come from: a TCP socket, or whatever stands for one.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// Where others connect.
pub trait Listener: Send + Sync + Sized + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// The next connection, and who made it.
    ///
    /// # Errors
    /// Why none can be accepted now; later ones may be.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;

    /// Closes the door; gives the connections that were made before.
    ///
    /// # Errors
    /// When they are lost.
    fn close(self) -> io::Result<impl Iterator<Item = (Self::Stream, SocketAddr)>>;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = Self::accept(self).await?;
        Ok((without_delay(stream), peer))
    }

    fn close(self) -> io::Result<impl Iterator<Item = (TcpStream, SocketAddr)>> {
        let listener = self.into_std()?;
        let next = move || -> io::Result<_> {
            let (stream, peer) = listener.accept()?;
            stream.set_nonblocking(true)?;
            Ok((without_delay(TcpStream::from_std(stream)?), peer))
        };
        Ok(std::iter::from_fn(move || next().ok()))
    }
}

fn without_delay(stream: TcpStream) -> TcpStream {
    if let Err(error) = stream.set_nodelay(true) {
        // It is broken, as its first read will tell.
        tracing::debug!(%error, "a connection delays what is sent");
    }
    stream
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn who_came_before_the_door_closed_is_let_in() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(TcpStream::connect(at).await.unwrap());
        }
        let (_accepted, _) = Listener::accept(&listener).await.unwrap();
        let mut rest: Vec<_> = listener.close().unwrap().collect();
        assert_eq!(rest.len(), 2);
        clients[1].write_all(b"x").await.unwrap();
        assert_eq!(rest[0].0.read_u8().await.unwrap(), b'x');
        assert!(TcpStream::connect(at).await.is_err(), "the door is closed");
    }
}
