//! A progress bar on stderr while a run goes on. Where stderr is no terminal it is
//! hidden; a long run writes a line now and then instead.

use std::future::Future;
use std::io::{self, Write};
use std::pin::pin;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, interval, interval_at};

use crate::tally::SharedTally;
use crate::text::grouped;

const REDRAW: Duration = Duration::from_millis(250);
const STYLE: &str = "{prefix:24} [{bar:30}] {elapsed} {msg}";

/// Shows how far `work`, which takes `length`, has come, with the count of `tally`.
pub(crate) async fn shown<T>(
    label: &str,
    length: Duration,
    tally: &SharedTally,
    work: impl Future<Output = T>,
) -> T {
    let bar = bar(label, length);
    drawn(&bar, || calls(tally), work).await
}

/// The same with what `say` says, and, where there is no terminal, with a line of it
/// each `every`.
pub(crate) async fn told<T>(
    label: &str,
    length: Duration,
    every: Duration,
    say: impl Fn() -> String,
    work: impl Future<Output = T>,
) -> T {
    let bar = bar(label, length);
    let mut work = pin!(drawn(&bar, &say, work));
    let mut due = interval_at(Instant::now() + every, every);
    loop {
        tokio::select! {
            output = &mut work => return output,
            _ = due.tick(), if bar.is_hidden() => {
                let seconds = bar.elapsed().as_secs();
                // Nobody reads it: no reason to end the run.
                let _ = writeln!(io::stderr(), "{label} {seconds} s: {}", say());
            }
        }
    }
}

async fn drawn<T>(bar: &ProgressBar, say: impl Fn() -> String, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let mut redraw = interval(REDRAW);
    loop {
        tokio::select! {
            output = &mut work => {
                bar.finish_and_clear();
                return output;
            }
            _ = redraw.tick() => {
                bar.set_position(millis(bar.elapsed()));
                bar.set_message(say());
            }
        }
    }
}

fn bar(label: &str, length: Duration) -> ProgressBar {
    let style = ProgressStyle::with_template(STYLE);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(millis(length))
        .with_prefix(label.to_owned())
        .with_style(style)
}

fn calls(tally: &SharedTally) -> String {
    let tally = tally.lock();
    let (answered, failed) = (tally.answered(), tally.failed());
    format!("{} calls, {failed} errors", grouped(answered))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
