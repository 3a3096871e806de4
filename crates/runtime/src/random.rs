//! Randomness from the operating system, read in this one place.

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

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn never_gives_the_same_twice() {
        assert_ne!(bytes::<16>(), bytes::<16>());
    }
}
