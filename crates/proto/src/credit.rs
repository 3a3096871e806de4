//! Per-exchange credit: how many bytes of events may be under way to one
//! client, so that a slow reader stalls its own exchange and no other.

/// Credit that an exchange starts with, in bytes: four chunks.
pub const INITIAL_WINDOW: u32 = 4 * crate::CHUNK_BYTES as u32;

/// The sender's side: what may still be sent.
///
/// One message may overdraw the window, so a message of any size passes; the
/// debt is then paid back before the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window(i64);

impl Window {
    /// A window with `bytes` of credit.
    pub fn new(bytes: u32) -> Self {
        Self(i64::from(bytes))
    }

    /// Takes credit for `bytes`, or says no when none is left.
    pub fn take(&mut self, bytes: usize) -> bool {
        let open = self.0 > 0;
        if open {
            self.0 -= i64::try_from(bytes).unwrap_or(i64::MAX);
        }
        open
    }

    /// Adds credit that the receiver granted.
    pub fn grant(&mut self, bytes: u32) {
        self.0 = self.0.saturating_add(i64::from(bytes));
    }
}

/// The receiver's side: gathers consumed bytes into grants worth sending.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Consumed(u32);

impl Consumed {
    /// Counts `bytes` as consumed; gives the grant once half a window is due.
    pub fn add(&mut self, bytes: usize) -> Option<u32> {
        self.0 = self
            .0
            .saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        (self.0 >= INITIAL_WINDOW / 2).then(|| std::mem::take(&mut self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_may_overdraw_once() {
        let mut window = Window::new(10);
        assert!(window.take(1000));
        assert!(!window.take(1));
        window.grant(1000);
        assert!(window.take(1));
    }

    proptest! {
        /// With a reader that consumes everything, a sender never stalls for good.
        #[test]
        fn a_reading_client_never_starves(sizes in prop::collection::vec(1usize..=crate::CHUNK_BYTES, 1..400)) {
            let mut window = Window::new(INITIAL_WINDOW);
            let mut consumed = Consumed::default();
            for size in sizes {
                prop_assert!(window.take(size));
                if let Some(grant) = consumed.add(size) {
                    window.grant(grant);
                }
            }
        }
    }
}
