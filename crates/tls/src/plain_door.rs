//! The accepting end where links are plain: in front of whoever serves, it asks nobody for
//! anything. Who speaks TLS to it is told of, since nobody else finds out at this end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::{Stream, stream};
use hexagram_runtime::listener::Listener;
use hexagram_runtime::metrics::Metrics;
use tokio::io::{AsyncRead, Join, ReadBuf, join};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::door::{ACCEPT_PAUSE, HANDSHAKE};
use crate::refusal::{Refusal, Refusals};

/// A connection without TLS.
pub type PlainStream = Join<Heard, OwnedWriteHalf>;

/// What comes over a connection, with an ear for TLS.
#[derive(Debug)]
pub struct Heard {
    wire: OwnedReadHalf,
    peer: SocketAddr,
    /// Until its first byte has come.
    unheard: Option<Arc<Refusals>>,
}

/// Those who come to `listener`. It never ends.
///
/// # Panics
/// When `metrics` have the counter of another one.
pub fn plain_incoming(
    listener: TcpListener,
    metrics: &Metrics,
) -> impl Stream<Item = io::Result<PlainStream>> + use<> {
    let refusals = Arc::new(Refusals::new(metrics));
    stream::unfold((listener, refusals), |(listener, refusals)| async move {
        let (tcp, peer) = accepted(&listener).await;
        let guest = heard(tcp, peer, Arc::clone(&refusals));
        Some((Ok(guest), (listener, refusals)))
    })
}

async fn accepted(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match Listener::accept(listener).await {
            Ok(guest) => return guest,
            Err(error) => {
                tracing::warn!(%error, "failed to accept a link");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn heard(tcp: TcpStream, peer: SocketAddr, refusals: Arc<Refusals>) -> PlainStream {
    let (wire, out) = tcp.into_split();
    let unheard = Some(refusals);
    let heard = Heard {
        wire,
        peer,
        unheard,
    };
    join(heard, out)
}

impl Heard {
    /// Whoever serves refuses it by itself: HTTP/2 does not begin so.
    fn hear(&mut self, first: Option<u8>) {
        let Some(refusals) = self.unheard.take() else {
            return;
        };
        if first == Some(HANDSHAKE) {
            refusals.note(self.peer, &Refusal::Tls);
        }
    }
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.wire).poll_read(cx, buf))?;
        self.hear(buf.filled().get(before).copied());
        Poll::Ready(Ok(()))
    }
}
