//! A lock that notices a panic of whoever holds it: what it protects may be half
//! changed then.

use std::ops::{Deref, DerefMut};
use std::thread::panicking;

use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

/// A value that changes under a lock.
pub(crate) struct Tended<T> {
    value: Mutex<T>,
    broken: CancellationToken,
}

/// The lock, held.
pub(crate) struct Tending<'a, T> {
    value: MutexGuard<'a, T>,
    broken: &'a CancellationToken,
    // Who cleans up after a panic elsewhere may take the lock, too.
    panicked_before: bool,
}

impl<T> Tended<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            value: Mutex::new(value),
            broken: CancellationToken::new(),
        }
    }

    /// Takes the lock. A broken value can still be looked at: what has begun with it
    /// runs to its end.
    pub(crate) fn lock(&self) -> Tending<'_, T> {
        Tending {
            value: self.value.lock(),
            broken: &self.broken,
            panicked_before: panicking(),
        }
    }

    /// Fires when somebody panicked with the lock in hand.
    pub(crate) const fn broken(&self) -> &CancellationToken {
        &self.broken
    }
}

impl<T> Deref for Tending<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Tending<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Drop for Tending<'_, T> {
    fn drop(&mut self) {
        if panicking() && !self.panicked_before {
            self.broken.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn a_panic_with_the_lock_in_hand_breaks_it_and_no_other_does() {
        let tended = Tended::new(1);
        *tended.lock() += 1;
        let elsewhere = catch_unwind(|| panic!("a handler's"));
        assert!(elsewhere.is_err() && !tended.broken().is_cancelled());
        let inside = catch_unwind(AssertUnwindSafe(|| {
            let mut value = tended.lock();
            *value += 1;
            panic!("half way");
        }));
        assert!(inside.is_err() && tended.broken().is_cancelled());
        assert_eq!(*tended.lock(), 3, "it can still be read");
    }

    #[test]
    fn cleaning_up_after_a_panic_elsewhere_breaks_nothing() {
        struct Cleans<'a>(&'a Tended<u8>);
        impl Drop for Cleans<'_> {
            fn drop(&mut self) {
                *self.0.lock() += 1;
            }
        }
        let tended = Tended::new(1);
        let panics = catch_unwind(AssertUnwindSafe(|| {
            let _cleans = Cleans(&tended);
            panic!("a handler's");
        }));
        assert!(panics.is_err());
        assert_eq!(*tended.lock(), 2);
        assert!(!tended.broken().is_cancelled());
    }
}
