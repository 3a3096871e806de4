//! What the person in front sees: a spinner on a terminal, plain lines in a log.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// In a log, a step that is silent this long says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(30);
const REDRAW: Duration = Duration::from_millis(120);

/// One piece of work that is being shown, on stderr.
pub(crate) struct Task {
    label: String,
    started: Instant,
    view: View,
}

enum View {
    Spinner(ProgressBar),
    Plain { spoke: Instant },
}

impl Task {
    /// Shows that the work begins.
    pub(crate) fn start(label: impl Into<String>) -> Self {
        let label = label.into();
        let view = if stderr().is_terminal() && std::env::var_os("CI").is_none() {
            View::Spinner(spinner(&label))
        } else {
            eprintln!("{label} ...");
            View::Plain { spoke: now() }
        };
        Self {
            label,
            started: now(),
            view,
        }
    }

    /// Shows the latest thing that the work said.
    pub(crate) fn line(&mut self, line: &str) {
        match &mut self.view {
            View::Spinner(bar) => bar.set_message(line.trim().to_owned()),
            View::Plain { spoke } => {
                if spoke.elapsed() >= HEARTBEAT {
                    *spoke = now();
                    eprintln!(
                        "{} ... {}: {}",
                        self.label,
                        elapsed(self.started),
                        line.trim()
                    );
                }
            }
        }
    }

    /// Prints lines for good, above the spinner if there is one.
    pub(crate) fn print<'a>(&self, lines: impl IntoIterator<Item = &'a str>) {
        let print = || lines.into_iter().for_each(|line| eprintln!("{line}"));
        match &self.view {
            View::Spinner(bar) => bar.suspend(print),
            View::Plain { .. } => print(),
        }
    }

    /// Shows how the work ended and how long it took.
    pub(crate) fn end(self, verdict: &str) {
        if let View::Spinner(bar) = &self.view {
            bar.finish_and_clear();
        }
        eprintln!("{} {verdict} ({})", self.label, elapsed(self.started));
    }
}

fn spinner(label: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed:>4} {wide_msg:.dim}");
    let bar = ProgressBar::new_spinner().with_prefix(label.to_owned());
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(REDRAW);
    bar
}

fn elapsed(since: Instant) -> String {
    let seconds = since.elapsed().as_secs_f64();
    match seconds {
        ..60.0 => format!("{seconds:.1} s"),
        _ => format!("{} min {:02.0} s", (seconds / 60.0) as u64, seconds % 60.0),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "no async runtime here: the time is only shown"
)]
fn now() -> Instant {
    Instant::now()
}
