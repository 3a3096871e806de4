//! The end of a process: the first signal drains, the second aborts.

use std::io::Write;
use std::{io, process, thread};

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code after a second SIGINT: 128 + the signal's number, as shells report it.
const EXIT_INTERRUPTED: i32 = 130;
/// Exit code after a second SIGTERM.
const EXIT_TERMINATED: i32 = 143;

/// Tells everybody in the process to drain. Clones share one signal.
#[derive(Clone, Debug)]
pub struct Shutdown {
    drain: CancellationToken,
}

impl Shutdown {
    /// Listens to SIGINT and SIGTERM from now on, for the rest of the process.
    ///
    /// The first one starts the drain; the second ends the process at once with
    /// exit code 130 (SIGINT) or 143 (SIGTERM). They are heard on a thread of
    /// their own, so a blocked runtime can still be aborted.
    ///
    /// # Errors
    /// When the handlers or the thread cannot be installed.
    pub fn install() -> io::Result<Self> {
        let shutdown = Self::manual();
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let signals = {
            let _context = runtime.enter();
            Signals::new()?
        };
        let listener = shutdown.clone();
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || runtime.block_on(listener.listen(signals)))?;
        Ok(shutdown)
    }

    /// Listens to no signal: only [`Shutdown::start`] starts it. For embedding
    /// and tests.
    #[must_use]
    pub fn manual() -> Self {
        Self {
            drain: CancellationToken::new(),
        }
    }

    /// Starts the drain, as the first signal does.
    pub fn start(&self) {
        self.drain.cancel();
    }

    /// Waits until the drain starts.
    pub async fn started(&self) {
        self.drain.cancelled().await;
    }

    /// The token that is cancelled when the drain starts. Cancelling it starts
    /// the drain; hand out a `child_token` to what must not.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.drain.clone()
    }

    async fn listen(self, mut signals: Signals) {
        let (first, _) = signals.next().await;
        tracing::info!(signal = first, "draining; a second signal aborts");
        self.start();
        let (second, code) = signals.next().await;
        // Not through tracing: no filter may hide this last word.
        // A standard error that is gone must not keep the process from ending.
        let _ = writeln!(
            std::io::stderr(),
            "hexagram: second signal ({second}): aborted before the drain ended"
        );
        #[expect(
            clippy::disallowed_methods,
            reason = "skipping the drain is what was asked for"
        )]
        process::exit(code);
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The next signal's name and exit code.
    async fn next(&mut self) -> (&'static str, i32) {
        tokio::select! {
            _ = self.interrupt.recv() => ("SIGINT", EXIT_INTERRUPTED),
            _ = self.terminate.recv() => ("SIGTERM", EXIT_TERMINATED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manual_start_reaches_every_clone() {
        let shutdown = Shutdown::manual();
        let clone = shutdown.clone();
        assert!(!clone.token().is_cancelled());
        shutdown.start();
        clone.started().await;
        assert!(clone.token().is_cancelled());
    }
}
