//! When to read the configuration again: on SIGHUP, and when its file changes.

use std::io;
use std::path::Path;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::watched::WatchedFile;

/// What makes a process read its configuration again.
#[derive(Debug)]
pub struct Trigger {
    hangup: Signal,
    file: WatchedFile,
}

impl Trigger {
    /// Listens to SIGHUP from now on, which ends the process no more, and
    /// watches the file.
    ///
    /// # Errors
    /// When the handler cannot be installed.
    pub fn install(file: &Path) -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            file: WatchedFile::new(file),
        })
    }

    /// Waits for the next occasion; gives its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.hangup.recv() => "SIGHUP",
            () = self.file.changed() => "changed file",
        }
    }
}
