//! Numbers that tell an old owner from a new one: a shard's epoch and a
//! process's incarnation.

use std::fmt;
use std::num::NonZeroU64;

/// A shard's ownership number: it grows with every change of owner and fences
/// the old ones. Never zero, and never compared with another shard's.
///
/// ```
/// use hexagram_core::Epoch;
/// assert_eq!(Epoch::FIRST.next(), Epoch::new(2));
/// assert_eq!(Epoch::new(0), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(NonZeroU64);

/// A random number per process start: part of a worker's or edge's identity, so
/// that a restarted process is never taken for its predecessor. Never zero.
/// Shown as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(NonZeroU64);

impl Epoch {
    /// The epoch of a shard's first owner.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// The epoch with this number; `None` for 0, which no owner ever has.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// The epoch's number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// The epoch after this one; `None` at `u64::MAX`. The shard then stays
    /// with its owner, for a wrapped epoch would let an old one back in. At a
    /// million moves a second that is half a million years away: a forged or
    /// damaged number, not an age.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Incarnation {
    /// The incarnation with this number; `None` for 0, which a peer that never
    /// set the field would send.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// The incarnation's number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_grow_and_never_wrap() {
        let last = Epoch::new(u64::MAX);
        assert_eq!(last.and_then(Epoch::next), None);
        assert_eq!(Epoch::FIRST.get(), 1);
        assert!(Epoch::FIRST.next() > Some(Epoch::FIRST));
    }

    #[test]
    fn zero_is_no_incarnation() {
        assert_eq!(Incarnation::new(0), None);
        let shown = Incarnation::new(0xbeef).map(|i| i.to_string());
        assert_eq!(shown.as_deref(), Some("000000000000beef"));
    }
}
