//! Upstream sessions that live in this process and nowhere else: stdio children
//! and handlers. A move between workers of one process keeps them (DESIGN 5b).

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use hexagram_runtime::random;
use parking_lot::Mutex;

use crate::upstream::Connection;

/// What the workers of one process share; cheap to clone.
#[derive(Clone)]
pub struct Kept(Arc<Places>);

struct Places {
    process: u64,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    last: u64,
    connections: HashMap<u64, Weak<Connection>>,
}

impl Kept {
    /// Of a process in which nothing is kept yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Places {
            // Zero says that it lives outside.
            process: u64::from_be_bytes(random::bytes()) | 1,
            held: Mutex::default(),
        }))
    }

    /// This process.
    pub(crate) fn process(&self) -> u64 {
        self.0.process
    }

    /// A place from which another worker of this process may take it.
    pub(crate) fn put(&self, connection: &Arc<Connection>) -> u64 {
        let mut held = self.0.held.lock();
        held.connections
            .retain(|_, connection| connection.strong_count() > 0);
        held.last += 1;
        let place = held.last;
        held.connections.insert(place, Arc::downgrade(connection));
        place
    }

    /// What was put there, if that was in this process and it still lives.
    pub(crate) fn take(&self, process: u64, place: u64) -> Option<Arc<Connection>> {
        let of_it = process == self.0.process;
        let held = of_it.then(|| self.0.held.lock().connections.remove(&place));
        held.flatten()?.upgrade()
    }
}

impl Default for Kept {
    fn default() -> Self {
        Self::new()
    }
}
