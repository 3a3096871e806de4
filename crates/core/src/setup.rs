//! What the workers of a cluster are to have alike, as each tells it its controller.

/// What a worker works with. Workers of older releases tell nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// The fingerprints of its key ring's keys; empty where it does not tell.
    pub keys: Vec<u64>,
    /// Where its session store is, as `HOST:PORT/DATABASE`; empty without one, `None`
    /// where it does not tell.
    pub store: Option<String>,
}

impl Setup {
    /// Whether either can open what the other seals. During a rotation rings differ, but
    /// never by all of their keys.
    #[must_use]
    pub fn shares_key(&self, other: &Self) -> bool {
        let untold = self.keys.is_empty() || other.keys.is_empty();
        untold || self.keys.iter().any(|key| other.keys.contains(key))
    }
}
