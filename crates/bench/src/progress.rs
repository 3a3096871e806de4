//! A progress bar on stderr while a run goes on; hidden when stderr is no terminal.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::interval;

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
    let mut work = pin!(work);
    let mut redraw = interval(REDRAW);
    loop {
        tokio::select! {
            output = &mut work => {
                bar.finish_and_clear();
                return output;
            }
            _ = redraw.tick() => draw(&bar, tally),
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

fn draw(bar: &ProgressBar, tally: &SharedTally) {
    let (answered, failed) = {
        let tally = tally.lock();
        (tally.answered(), tally.failed())
    };
    bar.set_position(millis(bar.elapsed()));
    bar.set_message(format!("{} calls, {failed} errors", grouped(answered)));
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
