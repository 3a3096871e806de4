//! What changed in the server's lists and resources, told to all who listen.

use tokio::sync::broadcast;

/// Changes that wait for a slow listener; it learns of older ones by `Lagged`.
const KEPT: usize = 64;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// The list of tools.
    Tools,
    /// The list of prompts.
    Prompts,
    /// The list of resources.
    Resources,
    /// The content of the resource with this URI.
    Resource(String),
}

/// The bus on which changes go to every handler of this process.
#[derive(Debug, Clone)]
pub(super) struct Changes(broadcast::Sender<Change>);

impl Changes {
    /// A bus that nobody listens to yet.
    pub(super) fn new() -> Self {
        Self(broadcast::Sender::new(KEPT))
    }

    /// Tells all who listen now.
    pub(super) fn announce(&self, change: Change) {
        // Without listeners there is nobody to tell.
        let _ = self.0.send(change);
    }

    /// The changes from now on.
    pub(super) fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.0.subscribe()
    }
}
