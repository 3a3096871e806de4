//! The first bytes of a connection: they tell the HTTP version, and are read again
//! by whoever serves it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Version;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// Enough to tell HTTP/2's preface "PRI * HTTP/2.0" from any method.
const PREFACE: [u8; 3] = *b"PRI";

/// A connection whose first bytes are known.
#[derive(Debug)]
pub(crate) struct Opened<I> {
    head: [u8; PREFACE.len()],
    // Of `head`: what was read, and what of that was given out.
    read: usize,
    given: usize,
    rest: I,
}

/// Reads until the HTTP version is clear, which must be within `limit`.
///
/// # Errors
/// When the connection breaks, or the bytes do not come in time.
pub(crate) async fn open<I>(stream: I, limit: Duration) -> io::Result<(Version, Opened<I>)>
where
    I: AsyncRead + Unpin,
{
    let mut opened = Opened {
        head: [0; PREFACE.len()],
        read: 0,
        given: 0,
        rest: stream,
    };
    let version = tokio::time::timeout(limit, opened.version()).await;
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no request in time");
    Ok((version.map_err(late)??, opened))
}

impl<I: AsyncRead + Unpin> Opened<I> {
    async fn version(&mut self) -> io::Result<Version> {
        while self.read < PREFACE.len() {
            let read = self.rest.read(&mut self.head[self.read..]).await?;
            self.read += read;
            if read == 0 || !PREFACE.starts_with(&self.head[..self.read]) {
                return Ok(Version::HTTP_11);
            }
        }
        Ok(Version::HTTP_2)
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Opened<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let kept = &this.head[this.given..this.read];
        if kept.is_empty() {
            return Pin::new(&mut this.rest).poll_read(cx, buf);
        }
        let now = kept.len().min(buf.remaining());
        buf.put_slice(&kept[..now]);
        this.given += now;
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Opened<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.rest).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.rest).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.rest).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.rest).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.rest.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    /// What is told of these pieces, and what is read afterwards.
    async fn heard(pieces: &[&str]) -> (Version, String) {
        let (mut client, server) = tokio::io::duplex(64);
        let pieces: Vec<_> = pieces.iter().map(|piece| (*piece).to_owned()).collect();
        let said = tokio::spawn(async move {
            for piece in pieces {
                client.write_all(piece.as_bytes()).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let (version, mut opened) = open(server, LIMIT).await.unwrap();
        let mut text = String::new();
        opened.read_to_string(&mut text).await.unwrap();
        said.await.unwrap();
        (version, text)
    }

    #[tokio::test]
    async fn no_byte_is_lost_whatever_the_version() {
        for (pieces, version) in [
            (&["GET /"][..], Version::HTTP_11),
            (&["P", "O", "ST /"], Version::HTTP_11),
            (&["PRI * HTTP/2.0"], Version::HTTP_2),
            (&["P", "R", "I * HTTP/2.0"], Version::HTTP_2),
            (&["PR"], Version::HTTP_11),
            (&[], Version::HTTP_11),
        ] {
            assert_eq!(heard(pieces).await, (version, pieces.concat()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_too_little_is_not_waited_for() {
        let (mut client, server) = tokio::io::duplex(64);
        client.write_all(b"PR").await.unwrap();
        let error = open(server, LIMIT).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
