//! One line on standard error that says what is being tried, while it is;
//! nothing when that is no terminal.

use std::io::{self, IsTerminal, Write};

const ERASE: &str = "\r\u{1b}[2K";

/// The line. It is erased on drop.
#[derive(Debug)]
pub(super) struct Progress {
    is_shown: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            is_shown: io::stderr().is_terminal(),
        }
    }

    /// Says what is being tried now.
    pub(super) fn say(&self, what: &str) {
        self.write(&format!("{ERASE}checking: {what} ..."));
    }

    fn write(&self, text: &str) {
        if self.is_shown {
            let mut err = io::stderr();
            // Progress that nobody can see is no reason to stop.
            let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.write(ERASE);
    }
}
