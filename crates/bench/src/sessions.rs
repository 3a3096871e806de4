//! `bench sessions`: many clients of both eras, as in production, and whether any of
//! them noticed what was done to the server meanwhile.
//!
//! [`trial`] finds out what to call and that it can be called. Then each [`client`] has
//! a connection of its own for its calls, one for its [`stream`], and a place in the
//! schedule; all write into one [`ledger`], of which [`report`] tells.

pub(crate) mod args;
mod caller;
mod client;
mod ledger;
mod peer;
mod report;
mod stream;
#[cfg(test)]
mod tests;
mod timeline;
mod trial;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{bail, ensure};
use futures_util::{StreamExt, stream as streams};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::endpoint::Endpoint;
use crate::era::Era;
use crate::progress::told;
use crate::schedule::Schedule;
use crate::signals::Signals;
use args::SessionsArgs;
use client::{AT_ONCE, Client};
use ledger::SharedLedger;
use trial::Chosen;

pub(crate) use report::SessionsReport;

/// How long after the end of sending the last answers, and then the ends of sessions,
/// may still come.
const PATIENCE: Duration = caller::LIMIT.saturating_add(client::FAREWELL_LIMIT);
/// How often a log that is no terminal hears how it goes.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Runs the load that `args` say, until it is over or `signals` end it.
pub(crate) async fn run(
    args: &SessionsArgs,
    mut signals: Signals,
) -> anyhow::Result<SessionsReport> {
    ensure!(
        args.legacy > 0 || args.modern > 0,
        "no client is left: give --legacy or --modern above 0"
    );
    let ledger = SharedLedger::default();
    let prepared = tokio::select! {
        prepared = prepare(args, &ledger) => prepared?,
        () = signals.next() => bail!("ended by a signal before the first call"),
    };
    let load = Load {
        clients: prepared.clients,
        rate: args.rate,
        length: args.seconds,
        ledger: ledger.clone(),
    };
    let say = || ledger.lock().summary();
    let sent_for = told(
        "load",
        args.seconds,
        TELL_EVERY,
        say,
        load.run(&mut signals),
    )
    .await;
    Ok(SessionsReport::new(
        args,
        &prepared.chosen,
        sent_for,
        &ledger.lock(),
    ))
}

struct Prepared {
    clients: Vec<Client>,
    chosen: Chosen,
}

/// Finds out what to call, then opens the clients. One that does not open is not the
/// end: its calls will tell.
async fn prepare(args: &SessionsArgs, ledger: &SharedLedger) -> anyhow::Result<Prepared> {
    let endpoint = Arc::new(Endpoint::new(&args.url, &args.run.headers)?);
    let chosen = trial::choose(args, &endpoint).await?;
    let of_era = |era, count: u16| {
        let streaming = args.streams.unwrap_or(count);
        (0..count).map(move |nth| (era, nth < streaming))
    };
    let all = of_era(Era::Legacy, args.legacy).chain(of_era(Era::Modern, args.modern));
    let opening = streams::iter(all)
        .map(|(era, streams)| {
            let call = chosen.message(era);
            Client::open(endpoint.clone(), era, call, streams, ledger.clone())
        })
        .buffer_unordered(AT_ONCE);
    let count = u64::from(args.legacy) + u64::from(args.modern);
    let say = || format!("{count} clients");
    let clients = told("open", Duration::ZERO, TELL_EVERY, say, opening.collect()).await;
    Ok(Prepared { clients, chosen })
}

struct Load {
    clients: Vec<Client>,
    /// Calls in 1000 seconds of each client.
    rate: u64,
    length: Duration,
    ledger: SharedLedger,
}

impl Load {
    /// Drives all clients until the time is over or a signal comes, then waits for what
    /// is under way; another signal ends that too. How long calls were sent.
    async fn run(mut self, signals: &mut Signals) -> Duration {
        let start = Instant::now();
        self.ledger.lock().begin(start);
        let (stop, stopped) = watch::channel(None);
        let mut tasks = self.start(start, &stopped);
        tokio::select! {
            () = sleep_until(start + self.length) => {}
            () = signals.next() => {}
        }
        let end = Instant::now();
        stop.send_replace(Some(end));
        self.ledger.lock().end(end);
        tokio::select! {
            _ = timeout(PATIENCE, all(&mut tasks)) => {}
            () = signals.next() => {}
        }
        end - start
    }

    fn start(&mut self, start: Instant, stopped: &client::Stopped) -> JoinSet<()> {
        let schedule = Schedule::of_each(self.rate, self.clients.len());
        let mut tasks = JoinSet::new();
        for (nth, client) in self.clients.drain(..).enumerate() {
            let due = schedule.intended(nth, self.length);
            tasks.spawn(client.run(due.map(move |offset| start + offset), stopped.clone()));
        }
        tasks
    }
}

/// Waits for all; a panic goes on here.
async fn all(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended
            && let Ok(panic) = error.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
    }
}
