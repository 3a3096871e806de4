//! The signals that ask this process to end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// SIGINT and SIGTERM as they come.
#[derive(Debug)]
pub(crate) struct Signals(mpsc::Receiver<()>);

impl Signals {
    /// Those of this process, from now on.
    pub(crate) fn new() -> io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if sender.send(()).await.is_err() {
                    return;
                }
            }
        });
        Ok(Self(receiver))
    }

    /// Those that a test sends.
    #[cfg(test)]
    pub(crate) fn of(receiver: mpsc::Receiver<()>) -> Self {
        Self(receiver)
    }

    /// Completes when the next of them comes.
    pub(crate) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
