//! How many moves may be under way at once.

/// Moves of one worker under way, as giver and as taker.
const PER_WORKER: usize = 2;
/// Moves of the cluster under way.
const PER_CLUSTER: usize = 8;

/// What is left for new moves beside those under way.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    workers: Vec<usize>,
    cluster: usize,
}

impl Budget {
    /// The budget beside the moves that are under way, each from a place in the
    /// layout's list of workers to another.
    #[must_use]
    pub fn beside(moves: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let mut this = Self::default();
        for (from, to) in moves {
            this.spend(from, to);
        }
        this
    }

    /// Whether one more move may begin.
    pub(super) fn allows(&self, from: usize, to: usize) -> bool {
        self.cluster < PER_CLUSTER && self.is_free(from) && self.is_free(to)
    }

    /// Whether a worker may take part in one more move.
    pub(super) fn is_free(&self, at: usize) -> bool {
        self.workers.get(at).copied().unwrap_or_default() < PER_WORKER
    }

    pub(super) fn spend(&mut self, from: usize, to: usize) {
        self.cluster += 1;
        self.count(from);
        self.count(to);
    }

    fn count(&mut self, at: usize) {
        if self.workers.len() <= at {
            self.workers.resize(at + 1, 0);
        }
        self.workers[at] += 1;
    }
}
