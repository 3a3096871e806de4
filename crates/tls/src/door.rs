//! The accepting end: handshakes side by side, in front of whoever serves.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use hexagram_runtime::metrics::Metrics;
use rustls::ServerConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::link_tls::LinkTls;
use crate::plain;
use crate::refusal::{Refusal, Refusals};
use crate::role::Role;
use crate::seats::{Seat, Seats};

/// A connection that was let in.
pub type ServerStream = TlsStream<TcpStream>;

/// What a worker says first to whom it lets in.
pub(crate) const WELCOME: u8 = b'+';

/// From the connection to its end.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Who dials speaks first, and at once.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_millis(500);
/// The first byte of a TLS handshake.
pub(crate) const HANDSHAKE: u8 = 0x16;
/// Rest after a failed accept: out of file descriptors, it fails again at once.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Those who come to `listener` and show a certificate that may come in, with the role that
/// it names. It never ends; handshakes under way end when it is dropped.
///
/// # Panics
/// When `metrics` have the counter of another one.
pub fn incoming(
    listener: TcpListener,
    tls: LinkTls,
    metrics: &Metrics,
) -> impl Stream<Item = io::Result<(Role, ServerStream)>> + use<> {
    let door = Door {
        listener,
        tls,
        refusals: Arc::new(Refusals::new(metrics)),
        handshakes: JoinSet::new(),
        seats: Seats::new(),
    };
    stream::unfold(door, |mut door| async {
        let guest = door.next().await;
        Some((Ok(guest), door))
    })
}

type Guest = (Role, ServerStream);

struct Door {
    listener: TcpListener,
    tls: LinkTls,
    refusals: Arc<Refusals>,
    handshakes: JoinSet<Option<Guest>>,
    seats: Seats<AbortHandle>,
}

impl Door {
    async fn next(&mut self) -> Guest {
        loop {
            tokio::select! {
                Some(done) = self.handshakes.join_next_with_id() => {
                    if let Some(guest) = self.done(done) {
                        return guest;
                    }
                }
                accepted = self.listener.accept(), if !self.seats.is_full() => match accepted {
                    Ok((tcp, peer)) => self.begin(tcp, peer),
                    Err(error) => {
                        tracing::warn!(%error, "failed to accept a link");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                () = over(self.seats.patience()) => {
                    let first = self.seats.put_out_first();
                    self.put_out(first);
                }
            }
        }
    }

    fn begin(&mut self, tcp: TcpStream, peer: SocketAddr) {
        // Taken now: what is renewed counts for the next one.
        let config = self.tls.configs().map(|configs| configs.server.clone());
        let refusals = Arc::clone(&self.refusals);
        let handle = self.handshakes.spawn(async move {
            let shaken = timeout(HANDSHAKE_TIMEOUT, shake(tcp, config)).await;
            let shaken = shaken.unwrap_or(Err(Refusal::Late));
            shaken.map_err(|refusal| refusals.note(peer, &refusal)).ok()
        });
        let left = self.seats.take(handle, peer, Instant::now());
        self.put_out(left);
    }

    fn put_out(&self, seat: Option<Seat<AbortHandle>>) {
        // Whoever is through already is let in.
        let seat = seat.filter(|seat| !seat.handle.is_finished());
        if let Some(Seat { handle, peer, .. }) = seat {
            handle.abort();
            self.refusals.note(peer, &Refusal::Crowded);
        }
    }

    /// Gives who was let in, if anybody was.
    fn done(&mut self, done: Result<(Id, Option<Guest>), JoinError>) -> Option<Guest> {
        let (id, guest) = done.unwrap_or_else(|error| (error.id(), None));
        self.seats.leave(|handle| handle.id() == id);
        guest
    }
}

/// Waits until then; for ever without an end.
async fn over(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => pending().await,
    }
}

async fn shake(tcp: TcpStream, config: Option<Arc<ServerConfig>>) -> Result<Guest, Refusal> {
    tcp.set_nodelay(true)?;
    let first = timeout(FIRST_BYTE_TIMEOUT, first_byte(&tcp)).await;
    match first.unwrap_or(Err(Refusal::Silent))? {
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
    let role = role(&stream).ok_or(Refusal::NoRole)?;
    stream.write_all(&[WELCOME]).await?;
    stream.flush().await?;
    Ok((role, stream))
}

/// Leaves it where it is.
async fn first_byte(tcp: &TcpStream) -> Result<u8, Refusal> {
    let mut first = [0];
    match tcp.peek(&mut first).await? {
        0 => Err(Refusal::Left),
        _ => Ok(first[0]),
    }
}

fn role(stream: &ServerStream) -> Option<Role> {
    let (_, session) = stream.get_ref();
    Role::of(session.peer_certificates()?.first()?)
}
