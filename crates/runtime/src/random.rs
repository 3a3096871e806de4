//! Randomness from the operating system, read in this one place.

use std::time::Duration;

/// `N` fresh random bytes: keys, nonces, incarnations.
///
/// # Panics
/// Where the operating system has no randomness: without it no key or id is
/// safe to hand out. Linux always has it after boot.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

/// Between half and the whole of `pause`: spreads the retries of many.
///
/// # Panics
/// As [`bytes()`].
#[must_use]
pub fn jittered(pause: Duration) -> Duration {
    pause / 2 + up_to(pause / 2)
}

/// Between nothing and `limit`: spreads what many do at one word.
///
/// # Panics
/// As [`bytes()`].
#[must_use]
pub fn up_to(limit: Duration) -> Duration {
    let share = f64::from(u32::from_be_bytes(bytes())) / f64::from(u32::MAX);
    limit.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_never_lengthens_a_pause() {
        let pause = Duration::from_secs(1);
        for _ in 0..100 {
            let spread = jittered(pause);
            assert!(spread >= pause / 2 && spread <= pause);
        }
    }

    #[test]
    fn never_gives_the_same_twice() {
        assert_ne!(bytes::<16>(), bytes::<16>());
    }
}
