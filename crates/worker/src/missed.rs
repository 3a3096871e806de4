//! Where a client that listens may have missed something: at upstreams whose
//! streams broke. Once it hears them again it is given hints (DESIGN 7).

use std::collections::HashSet;

use parking_lot::Mutex;

use crate::upstream::UpstreamId;

/// The upstreams of one client that are not heard now, but were.
#[derive(Debug, Default)]
pub(crate) struct Missed(Mutex<HashSet<UpstreamId>>);

impl Missed {
    /// What this upstream says from now on is not heard.
    pub(crate) fn note(&self, upstream: UpstreamId) {
        self.0.lock().insert(upstream);
    }

    /// Whether it was heard, and is not.
    pub(crate) fn is_due(&self, upstream: UpstreamId) -> bool {
        self.0.lock().contains(&upstream)
    }

    /// It is heard now; `true` where something may have been missed.
    pub(crate) fn take(&self, upstream: UpstreamId) -> bool {
        self.0.lock().remove(&upstream)
    }
}
