//! When to read the configuration again: on SIGHUP, and when one of its files changes.

use std::io;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::watched::WatchedFile;

/// What makes a process read its configuration again.
#[derive(Debug)]
pub struct Trigger {
    hangup: Signal,
    files: Vec<WatchedFile>,
}

impl Trigger {
    /// Listens to SIGHUP from now on, which ends the process no more, and to changes of the
    /// files and folders.
    ///
    /// # Errors
    /// When the handler cannot be installed.
    pub fn install(files: Vec<WatchedFile>) -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            files,
        })
    }

    /// Waits for the next occasion; gives its name.
    pub async fn next(&mut self) -> &'static str {
        let changed = self.files.iter_mut().map(WatchedFile::changed);
        let mut changed: FuturesUnordered<_> = changed.collect();
        tokio::select! {
            _ = self.hangup.recv() => "SIGHUP",
            Some(()) = changed.next() => "changed file",
        }
    }
}
