//! Who may be in a handshake at the same time. Strangers can have all the seats that they
//! like to sit on, but none for long once somebody else wants it.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;

/// So many are under way; others wait in the kernel's backlog.
const MAX_HANDSHAKES: usize = 256;
/// So many of one address: of further ones, the newest take the place of the oldest.
const MAX_OF_ONE_ADDRESS: usize = 64;
/// While all seats are taken, nobody keeps one for longer. A peer of ours needs a few
/// milliseconds.
const PATIENCE: Duration = Duration::from_millis(500);

/// A handshake under way, and the `handle` that ends it.
#[derive(Debug)]
pub(crate) struct Seat<H> {
    pub(crate) handle: H,
    pub(crate) peer: SocketAddr,
    since: Instant,
}

impl<H> Seat<H> {
    fn address(&self) -> IpAddr {
        self.peer.ip().to_canonical()
    }
}

/// Those under way, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Seats<H>(VecDeque<Seat<H>>);

impl<H> Seats<H> {
    pub(crate) const fn new() -> Self {
        Self(VecDeque::new())
    }

    /// Whether nobody may come in.
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= MAX_HANDSHAKES
    }

    /// Until when the first one may stay, if others may wait for its seat.
    pub(crate) fn patience(&self) -> Option<Instant> {
        let first = self.0.front().filter(|_| self.is_full())?;
        Some(first.since + PATIENCE)
    }

    /// Takes the first one's seat from it.
    pub(crate) fn put_out_first(&mut self) -> Option<Seat<H>> {
        self.0.pop_front()
    }

    /// Seats somebody who came `now`; gives who had to leave for that.
    pub(crate) fn take(&mut self, handle: H, peer: SocketAddr, now: Instant) -> Option<Seat<H>> {
        let since = now;
        let seat = Seat {
            handle,
            peer,
            since,
        };
        let address = seat.address();
        let mut others = self.0.iter().enumerate();
        let first = others.position(|(_, other)| other.address() == address);
        let count = 1 + others
            .filter(|(_, other)| other.address() == address)
            .count();
        let first = first.filter(|_| count >= MAX_OF_ONE_ADDRESS);
        let left = first.and_then(|first| self.0.remove(first));
        self.0.push_back(seat);
        left
    }

    /// Whose handle this is needs the seat no more.
    pub(crate) fn leave(&mut self, is_its: impl Fn(&H) -> bool) {
        self.0.retain(|seat| !is_its(&seat.handle));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, address], 7000))
    }

    fn handle<H>(seat: Option<Seat<H>>) -> Option<H> {
        seat.map(|seat| seat.handle)
    }

    #[test]
    fn of_one_address_the_newest_stay_and_others_keep_their_seats() {
        let (mut seats, now) = (Seats::new(), Instant::now());
        assert!(seats.take(1000, peer(1), now).is_none());
        for number in 0..MAX_OF_ONE_ADDRESS {
            assert!(seats.take(number, peer(2), now).is_none(), "{number}");
        }
        let (new, mapped) = (
            2000,
            SocketAddr::from(([0, 0, 0, 0, 0, 0xffff, 0x0a00, 2], 1)),
        );
        assert_eq!(handle(seats.take(new, mapped, now)), Some(0), "as IPv6");
        assert_eq!(handle(seats.take(new, peer(2), now)), Some(1));
        seats.leave(|handle| *handle == 2);
        assert!(
            seats.take(new, peer(2), now).is_none(),
            "one left by itself"
        );
        assert_eq!(handle(seats.put_out_first()), Some(1000));
    }

    #[test]
    fn a_seat_is_kept_for_long_only_while_others_are_free() {
        let (mut seats, start) = (Seats::new(), Instant::now());
        let came = |number: usize| start + Duration::from_millis(number as u64);
        for number in 0..MAX_HANDSHAKES {
            assert_eq!((seats.is_full(), seats.patience()), (false, None));
            let address = (number / MAX_OF_ONE_ADDRESS).try_into().expect("a few");
            assert!(seats.take(number, peer(address), came(number)).is_none());
        }
        assert!(seats.is_full());
        for number in 0..2 {
            assert_eq!(seats.patience(), Some(came(number) + PATIENCE));
            assert_eq!(handle(seats.put_out_first()), Some(number));
            assert!(seats.take(number, peer(9), came(1000)).is_none());
        }
    }
}
