//! What a client said it can do, as bits: small enough to travel in a sealed
//! session id.

/// Client capabilities. The bits are part of the session format: never reused.
/// What has no bit here (experimental capabilities, extensions) belongs in the
/// session's store record.
///
/// ```
/// use hexagram_core::Capabilities;
/// let mut can = Capabilities::ROOTS;
/// can.insert(Capabilities::SAMPLING);
/// assert!(can.contains(Capabilities::ROOTS.union(Capabilities::SAMPLING)));
/// assert!(!can.contains(Capabilities::ELICITATION_URL));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Capabilities(u32);

impl Capabilities {
    /// `roots`.
    pub const ROOTS: Self = Self(1);
    /// `roots.listChanged`.
    pub const ROOTS_LIST_CHANGED: Self = Self(1 << 1);
    /// `sampling`.
    pub const SAMPLING: Self = Self(1 << 2);
    /// `sampling.tools`.
    pub const SAMPLING_TOOLS: Self = Self(1 << 3);
    /// `sampling.context`.
    pub const SAMPLING_CONTEXT: Self = Self(1 << 4);
    /// `elicitation` or `elicitation.form`.
    pub const ELICITATION_FORM: Self = Self(1 << 5);
    /// `elicitation.url`.
    pub const ELICITATION_URL: Self = Self(1 << 6);
    /// `tasks`.
    pub const TASKS: Self = Self(1 << 7);
    /// `tasks.list`.
    pub const TASKS_LIST: Self = Self(1 << 8);
    /// `tasks.cancel`.
    pub const TASKS_CANCEL: Self = Self(1 << 9);
    /// `tasks.requests.sampling.createMessage`.
    pub const TASKS_SAMPLING: Self = Self(1 << 10);
    /// `tasks.requests.elicitation.create`.
    pub const TASKS_ELICITATION: Self = Self(1 << 11);

    /// All that have a bit.
    #[must_use]
    pub const fn all() -> Self {
        Self(Self::TASKS_ELICITATION.0 * 2 - 1)
    }

    /// The set with these bits. Unknown ones are kept: a newer release minted
    /// them, and an older one must hand them on unharmed.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The set as bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all of `other` is in the set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Adds all of `other`.
    pub const fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// What is in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Capabilities; 12] = [
        Capabilities::ROOTS,
        Capabilities::ROOTS_LIST_CHANGED,
        Capabilities::SAMPLING,
        Capabilities::SAMPLING_TOOLS,
        Capabilities::SAMPLING_CONTEXT,
        Capabilities::ELICITATION_FORM,
        Capabilities::ELICITATION_URL,
        Capabilities::TASKS,
        Capabilities::TASKS_LIST,
        Capabilities::TASKS_CANCEL,
        Capabilities::TASKS_SAMPLING,
        Capabilities::TASKS_ELICITATION,
    ];

    #[test]
    fn the_bits_are_stable() {
        let bits = ALL.map(Capabilities::bits);
        assert_eq!(bits, std::array::from_fn(|place| 1 << place));
    }

    #[test]
    fn contains_asks_for_all() {
        let both = Capabilities::ROOTS.union(Capabilities::SAMPLING);
        assert!(both.contains(Capabilities::ROOTS));
        assert!(!Capabilities::ROOTS.contains(both));
        assert!(Capabilities::default().contains(Capabilities::default()));
    }

    #[test]
    fn unknown_bits_are_kept() {
        let mut newer = Capabilities::from_bits(1 << 31);
        newer.insert(Capabilities::TASKS);
        assert_eq!(newer.bits(), (1 << 31) | (1 << 7));
    }
}
