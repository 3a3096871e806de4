//! When to read the configuration again: on SIGHUP, and when its file changes.

use std::future::pending;
use std::io;
use std::path::Path;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::watched::WatchedFile;

/// What makes a process read its configuration again.
#[derive(Debug)]
pub struct Trigger {
    hangup: Signal,
    file: Option<WatchedFile>,
}

impl Trigger {
    /// Listens to SIGHUP from now on, which ends the process no more, and
    /// watches the file.
    ///
    /// # Errors
    /// When the handler cannot be installed.
    pub fn install(file: Option<&Path>) -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            file: file.map(WatchedFile::new),
        })
    }

    /// Waits for the next occasion; gives its name.
    pub async fn next(&mut self) -> &'static str {
        let file = async {
            match &mut self.file {
                Some(file) => file.changed().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = self.hangup.recv() => "SIGHUP",
            () = file => "changed file",
        }
    }
}
