//! One client: calls at the times that are due, and a stream beside them.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::caller::Caller;
use super::ledger::SharedLedger;
use super::stream::Standing;
use crate::endpoint::Endpoint;
use crate::era::Era;
use crate::failure::{Failure, Said};
use crate::message::Message;

/// Clients that open at the same time: fewer than a listen queue holds, with their
/// streams.
pub(super) const AT_ONCE: usize = 25;
/// How long the end of a session may take.
pub(super) const FAREWELL_LIMIT: Duration = Duration::from_secs(5);

/// When sending ended, once it has.
pub(super) type Stopped = watch::Receiver<Option<Instant>>;

/// A client with a connection of its own.
pub(super) struct Client {
    caller: Caller,
    era: Era,
    call: Arc<Message>,
    /// Its stream, as a task that ends with it.
    stream: JoinSet<()>,
    ledger: SharedLedger,
}

impl Client {
    /// Opens session and stream. What fails now is tried again later, and counted then.
    pub(super) async fn open(
        endpoint: Arc<Endpoint>,
        era: Era,
        call: Arc<Message>,
        streams: bool,
        ledger: SharedLedger,
    ) -> Self {
        let mut caller = Caller::new(endpoint.clone(), era, ledger.clone());
        if era == Era::Legacy {
            let _ = timeout(super::caller::LIMIT, caller.open()).await;
            caller.manner();
        }
        let mut stream = JoinSet::new();
        if streams {
            let (tried, first) = oneshot::channel();
            let standing = Standing::new(endpoint, era, caller.current(), ledger.clone());
            stream.spawn(standing.run(tried));
            let _ = first.await;
        }
        Self {
            caller,
            era,
            call,
            stream,
            ledger,
        }
    }

    /// Calls when it is `due` until it is stopped; then ends the session.
    pub(super) async fn run(mut self, mut due: impl Iterator<Item = Instant>, stopped: Stopped) {
        let unsent = self.call_until(&mut due, stopped.clone()).await;
        let end = called(stopped).await;
        let late = unsent.into_iter().chain(due).take_while(|due| *due < end);
        late.for_each(|due| self.ledger.lock().of(self.era).skip(end - due));
        self.stream.shutdown().await;
        let ended = timeout(FAREWELL_LIMIT, self.caller.farewell()).await;
        if !matches!(ended, Ok(Ok(()))) {
            self.ledger.lock().of(self.era).sessions.not_deleted += 1;
        }
    }

    /// Calls; the time of the call that was not made any more, if there is one.
    async fn call_until(
        &mut self,
        due: &mut impl Iterator<Item = Instant>,
        stopped: Stopped,
    ) -> Option<Instant> {
        for due in due {
            tokio::select! {
                biased;
                _ = called(stopped.clone()) => return Some(due),
                () = sleep_until(due) => self.call_at(due).await,
            }
        }
        None
    }

    async fn call_at(&mut self, due: Instant) {
        self.ledger.lock().of(self.era).sent += 1;
        let outcome = self.caller.call(&self.call, check).await;
        let manner = self.caller.manner();
        let now = Instant::now();
        self.ledger
            .lock()
            .record(self.era, outcome, manner, now - due, now);
    }
}

/// Completes when sending has ended, with the time of it.
async fn called(mut stopped: Stopped) -> Instant {
    match stopped.wait_for(Option::is_some).await.as_deref() {
        Ok(Some(end)) => *end,
        _ => Instant::now(),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CallResult {
    #[serde(default)]
    is_error: bool,
}

/// Whether a result is what the caller wanted.
pub(super) fn check(result: &str) -> Result<(), Failure> {
    match serde_json::from_str(result) {
        Ok(CallResult { is_error: false }) => Ok(()),
        Ok(_) => Err(Failure::ToolError(Said::new(result))),
        Err(_) => Err(Failure::NoAnswer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_fails_is_no_answer() {
        assert_eq!(check("{}"), Ok(()));
        assert_eq!(check(r#"{"content":[],"isError":false}"#), Ok(()));
        let failed = check(r#"{"isError":true,"content":[{"text":"no tea"}]}"#);
        assert!(failed.is_err_and(|failure| failure.to_string().contains("no tea")));
        assert_eq!(check("7"), Err(Failure::NoAnswer));
    }
}
