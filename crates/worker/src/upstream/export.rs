//! The state of a compiled-in handler, on its way to another process.

use bytes::Bytes;

/// Gives what a handler needs to go on in another process, as it is now; `None` where that
/// is nothing, or the handler is gone.
pub struct Export(Box<dyn Fn() -> Option<Bytes> + Send + Sync>);

impl Export {
    /// By what `export` gives.
    pub fn new(export: impl Fn() -> Option<Bytes> + Send + Sync + 'static) -> Self {
        Self(Box::new(export))
    }

    /// What it is now.
    #[must_use]
    pub fn now(&self) -> Option<Bytes> {
        (self.0)()
    }
}

impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Export")
    }
}
