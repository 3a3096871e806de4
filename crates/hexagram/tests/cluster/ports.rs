//! Free ports that stay the same when a process is started again.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::net::TcpSocket;

/// Below the range that the system takes ports of outgoing connections from,
/// so that nobody gets one while its process restarts.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// An address of this machine that nobody listens on, given out once only.
///
/// # Panics
/// When every port is taken.
pub(crate) fn free() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test programs that run at the same time start at different places.
    let start = (std::process::id() % 97) as u16 * 120;
    let next = |_| {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        SocketAddr::from(([127, 0, 0, 1], FIRST + offset))
    };
    let mut addresses = (0..COUNT).map(next);
    let free = addresses.find(|&address| is_free(address));
    free.expect("a free port: end what listens on those of tests")
}

/// It does not listen itself: a process that another test starts at this moment
/// holds a copy of the socket until it runs its program, and a copy that
/// listens would keep the port from its new owner.
fn is_free(address: SocketAddr) -> bool {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).is_ok()
}
