//! The accepting end: handshakes side by side, in front of whoever serves.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use hexagram_runtime::metrics::Metrics;
use rustls::ServerConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::link_tls::LinkTls;
use crate::plain;
use crate::refusal::{Refusal, Refusals};

/// A connection that was let in.
pub type ServerStream = TlsStream<TcpStream>;

/// What a worker says first to whom it lets in.
pub(crate) const WELCOME: u8 = b'+';

/// From the connection to its end.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// So many may be under way; others wait in the kernel's backlog.
const MAX_HANDSHAKES: usize = 256;
/// The first byte of a TLS handshake.
const HANDSHAKE: u8 = 0x16;
/// Rest after a failed accept: out of file descriptors, it fails again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Those who come to `listener` and show a certificate that may come in. It never ends;
/// handshakes under way end when it is dropped.
///
/// # Panics
/// When `metrics` have the counter of another one.
pub fn incoming(
    listener: TcpListener,
    tls: LinkTls,
    metrics: &Metrics,
) -> impl Stream<Item = io::Result<ServerStream>> + use<> {
    let door = Door {
        listener,
        tls,
        refusals: Arc::new(Refusals::new(metrics)),
        handshakes: JoinSet::new(),
    };
    stream::unfold(door, |mut door| async {
        let stream = door.next().await;
        Some((Ok(stream), door))
    })
}

struct Door {
    listener: TcpListener,
    tls: LinkTls,
    refusals: Arc<Refusals>,
    handshakes: JoinSet<Option<ServerStream>>,
}

impl Door {
    async fn next(&mut self) -> ServerStream {
        loop {
            tokio::select! {
                Some(done) = self.handshakes.join_next() => {
                    if let Ok(Some(stream)) = done {
                        return stream;
                    }
                }
                accepted = self.listener.accept(), if self.handshakes.len() < MAX_HANDSHAKES => {
                    match accepted {
                        Ok((tcp, peer)) => self.begin(tcp, peer),
                        Err(error) => {
                            tracing::warn!(%error, "failed to accept a link");
                            sleep(ACCEPT_PAUSE).await;
                        }
                    }
                }
            }
        }
    }

    fn begin(&mut self, tcp: TcpStream, peer: SocketAddr) {
        // Taken now: what is renewed counts for the next one.
        let config = self.tls.configs().map(|configs| configs.server.clone());
        let refusals = Arc::clone(&self.refusals);
        self.handshakes.spawn(async move {
            let shaken = timeout(HANDSHAKE_TIMEOUT, shake(tcp, config)).await;
            let shaken = shaken.unwrap_or(Err(Refusal::Late));
            shaken.map_err(|refusal| refusals.note(peer, &refusal)).ok()
        });
    }
}

async fn shake(tcp: TcpStream, config: Option<Arc<ServerConfig>>) -> Result<ServerStream, Refusal> {
    tcp.set_nodelay(true)?;
    let mut first = [0];
    if tcp.peek(&mut first).await? == 0 {
        return Err(Refusal::Left);
    }
    match first[0] {
        HANDSHAKE => {}
        plain::PREFACE => {
            // He is gone already: no answer reaches him.
            let _ = plain::turn_away(tcp).await;
            return Err(Refusal::Plain);
        }
        _ => return Err(Refusal::Plain),
    }
    let acceptor = TlsAcceptor::from(config.ok_or(Refusal::NotYet)?);
    let mut stream = acceptor.accept(tcp).await?;
    stream.write_all(&[WELCOME]).await?;
    stream.flush().await?;
    Ok(stream)
}
