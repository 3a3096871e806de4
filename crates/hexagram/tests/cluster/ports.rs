//! Free ports that stay the same when a process is started again.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range that the system takes ports of outgoing connections from,
/// so that nobody gets one while its process restarts.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// An address of this machine that nobody listens on, given out once only.
pub(crate) fn free() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test programs that run at the same time start at different places.
    let start = (std::process::id() % 97) as u16 * 120;
    loop {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let address = SocketAddr::from(([127, 0, 0, 1], FIRST + offset));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
