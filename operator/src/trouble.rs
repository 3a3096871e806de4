//! What goes wrong again and again is told once.

use std::fmt::Display;

/// Something that is tried again and again.
#[derive(Debug)]
pub(crate) struct Trouble {
    what: &'static str,
    /// Why it did not work the last time.
    reason: Option<String>,
}

impl Trouble {
    /// None yet with `what`: "following the pods".
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, reason: None }
    }

    /// Whether it did not work the last time.
    pub(crate) fn lasts(&self) -> bool {
        self.reason.is_some()
    }

    /// Takes in how it went, and tells what is news of that.
    pub(crate) fn tell<E: Display>(&mut self, went: Result<(), E>) {
        let (what, reason) = (self.what, went.err().map(|error| error.to_string()));
        match &reason {
            Some(error) if self.reason.as_ref() != Some(error) => {
                tracing::warn!(error, "{what} fails, trying again");
            }
            None if self.lasts() => tracing::info!("{what} works again"),
            _ => {}
        }
        self.reason = reason;
    }
}
