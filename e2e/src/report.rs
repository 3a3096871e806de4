//! The bar of a scenario, what came out, and the table of all.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::load::{Counts, Figures};

/// The bar of planned changes of workers, and of all that happens to the control plane, as
/// [`Verdict::unnoticed`] judges it.
pub const UNNOTICED: &str = "0 failed requests, 0 sessions lost, 0 streams closed";
/// The bar of planned changes of edges, as [`Verdict::resumable`] judges it.
pub const RESUMABLE: &str = "0 failed requests, 0 sessions lost, streams end resumably only";
/// The bar of the image, in megabytes unpacked, as [`Verdict::image`] judges it.
pub const SMALL: f64 = 40.0;
/// The bar of losses, once they are seen or mended.
pub const SOON: Duration = Duration::from_secs(10);
/// What S7 wants of a process's death. Machines that do other things as well miss it now and
/// then: where the accident can be repeated, the best of some tries is judged.
const PROMPT: Duration = Duration::from_secs(2);
/// So many at most.
const TRIES: usize = 3;
/// The bar of a death that can be repeated, as [`Verdict::back_after_deaths`] judges it.
pub const PROMPTLY: &str = "full service in < 10 s; with at most 100 clients of each era, of up \
                            to three tries the best in < 2 s (S7)";
/// With more clients of each era the load may take all that its machine has, and what is
/// measured is how long so many sessions take to begin anew.
const LIGHT: u32 = 100;
/// The bar of a death that cannot, as the same judges it.
pub const SOON_ONCE: &str = "full service in < 10 s (S7's 2 s are told, not judged)";
/// Percent of requests that are answered over ten minutes with one loss (S7).
pub const AVAILABLE: f64 = 99.9;
/// Until none fails any more (S7).
pub const RECOVERY: Duration = Duration::from_secs(30);

/// What came out of a scenario.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What to show.
    pub figure: Vec<String>,
    /// Why the bar does not hold; nothing where it does.
    pub broken: Vec<String>,
}

/// A line of the report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) bar: String,
    pub(crate) figure: String,
    pub(crate) passed: bool,
    pub(crate) seconds: u64,
}

/// How the figure of a scenario begins that this cluster is not made for.
const NOT_RUN: &str = "NOT RUN: ";

impl Verdict {
    /// Nothing was done, and why.
    #[must_use]
    pub fn not_run(why: &str) -> Self {
        Self::default().shows(format!("{NOT_RUN}{why}"))
    }

    /// A figure, whatever it is.
    #[must_use]
    pub fn shows(mut self, figure: impl Into<String>) -> Self {
        self.figure.push(figure.into());
        self
    }

    /// A condition of the bar.
    #[must_use]
    pub fn requires(mut self, holds: bool, else_: impl Into<String>) -> Self {
        if !holds {
            self.broken.push(else_.into());
        }
        self
    }

    /// What the load saw, without judging it.
    #[must_use]
    pub fn load(self, figures: &Figures) -> Self {
        let Counts {
            sent,
            retried,
            latency_ms,
            sessions,
            streams,
            ..
        } = &figures.total;
        let unanswered = figures.total.unanswered();
        let ended = streams.ended + streams.broken + streams.failed;
        let mut verdict = self
            .shows(format!(
                "{unanswered} of {sent} requests failed ({retried} retried)"
            ))
            .shows(format!(
                "{} of {} sessions lost",
                sessions.lost, sessions.opened
            ))
            .shows(format!(
                "{ended} of {} streams closed ({} broken)",
                streams.opened, streams.broken
            ))
            .shows(format!(
                "p99 {:.0} ms, longest {:.0} ms",
                latency_ms.p99, latency_ms.max
            ));
        verdict.figure.extend(figures.total.reasons());
        verdict
    }

    /// The bar of planned worker changes: no client noticed anything.
    #[must_use]
    pub fn unnoticed(self, figures: &Figures) -> Self {
        let streams = &figures.total.streams;
        let closed = streams.ended + streams.broken + streams.failed;
        self.load(figures)
            .calls_answered(figures)
            .requires(closed == 0, format!("{closed} streams were closed"))
    }

    /// The bar of planned edge changes: streams may end, if they say how to go on.
    #[must_use]
    pub fn resumable(self, figures: &Figures) -> Self {
        let streams = &figures.total.streams;
        let lost = streams.broken + streams.failed;
        let gap = format!("longest stream gap {:.0} ms", streams.longest_gap_ms);
        self.load(figures)
            .shows(gap)
            .calls_answered(figures)
            .requires(
                lost == 0,
                format!("{lost} streams broke or did not open again"),
            )
    }

    /// The bar of what takes one shard from its owner, without a store: sessions of that
    /// shard end, each with one refusal, and nobody else notices. A shard has far less than
    /// an eighth of the clients.
    #[must_use]
    pub fn of_one_shard(self, figures: &Figures) -> Self {
        let (failed, sessions) = (figures.total.unanswered(), &figures.total.sessions);
        let is_one = failed == sessions.lost && sessions.lost * 8 <= sessions.opened;
        self.load(figures)
            .requires(is_one, "clients of other shards noticed it")
    }

    fn calls_answered(self, figures: &Figures) -> Self {
        let (failed, lost) = (figures.total.unanswered(), figures.total.sessions.lost);
        self.requires(figures.total.sent > 0, "nothing was sent")
            .requires(failed == 0, format!("{failed} requests failed"))
            .requires(lost == 0, format!("{lost} sessions were lost"))
    }

    /// The bar of a window with one loss (S7): hardly any request fails, each of those is
    /// told why, and only until the loss is mended.
    #[must_use]
    pub fn available(self, figures: &Figures) -> Self {
        let total = &figures.total;
        let answered = 100.0 - 100.0 * total.unanswered() as f64 / total.sent.max(1) as f64;
        let (recovery, untold) = (figures.recovery(), total.failed + total.lost);
        self.shows(format!(
            "{answered:.3} % answered in {:.0} s; requests failed within {} s",
            figures.seconds,
            recovery.as_secs()
        ))
        .requires(answered >= AVAILABLE, "too few were answered")
        .requires(untold == 0, format!("{untold} requests failed untold"))
        .requires(recovery < RECOVERY, "it took too long until none failed")
        .load(figures)
    }

    /// The bar of losses: everybody is served again soon, after each of them.
    #[must_use]
    pub fn back_within(self, limit: Duration, backs: &[Duration]) -> Self {
        let seconds = backs.iter().map(Duration::as_secs_f64);
        let seconds: Vec<_> = seconds.map(|back| format!("{back:.1}")).collect();
        let is_soon = backs.iter().all(|back| *back < limit);
        let late = format!("full service took {} s or more", limit.as_secs_f64());
        self.shows(format!("full service after {} s", seconds.join(", ")))
            .requires(is_soon, late)
    }

    /// The bar of a process that died, and whether one of its deaths was made good as soon as
    /// S7 wants; `is_judged`: that is part of the bar.
    #[must_use]
    pub fn back_after_deaths(self, backs: &[Duration], is_judged: bool) -> Self {
        let is_prompt = backs.iter().any(|back| *back < PROMPT);
        let kept = if is_prompt { "within" } else { "NOT within" };
        let never = "full service was never back within S7's 2 s";
        self.back_within(SOON, backs)
            .shows(format!("{kept} S7's {} s", PROMPT.as_secs()))
            .requires(is_prompt || !is_judged, never)
    }

    /// The bar of the image: every node that runs something pulls it first.
    #[must_use]
    pub fn image(self, bytes: Option<u64>) -> Self {
        let Some(bytes) = bytes else {
            return self.shows("Docker here has no such image: how large it is was not seen");
        };
        let megabytes = bytes as f64 / 1e6;
        self.shows(format!("image {megabytes:.1} MB"))
            .requires(megabytes < SMALL, "the image is too large")
    }

    /// In one line.
    pub(crate) fn line(&self) -> String {
        let broken = self.broken.iter().map(|why| format!("**{why}**"));
        let parts: Vec<_> = broken.chain(self.figure.iter().cloned()).collect();
        parts.join("; ")
    }
}

/// Whether a machine has room beside so many clients of each era: then S7's 2 s are judged.
#[must_use]
pub fn is_light(clients: u32) -> bool {
    clients <= LIGHT
}

/// Whether a process is to die again while so many clients of each era call, by when full
/// service was back after those before: soon each time, and never as soon as S7 wants.
#[must_use]
pub fn is_to_repeat(backs: &[Duration], clients: u32) -> bool {
    let soon_only = |back: &Duration| (PROMPT..SOON).contains(back);
    let tries = if is_light(clients) { TRIES } else { 1 };
    backs.len() < tries && backs.iter().all(soon_only)
}

/// Adds a row to the report in `folder`, which is written anew as a whole.
pub(crate) fn add(folder: &Path, head: &str, row: Row) -> Result<()> {
    let file = folder.join("rows.json");
    let known = std::fs::read(&file).unwrap_or_default();
    // The first row finds no file.
    let mut rows: Vec<Row> = serde_json::from_slice(&known).unwrap_or_default();
    rows.push(row);
    std::fs::write(&file, serde_json::to_vec_pretty(&rows)?).context("keep the rows")?;
    std::fs::write(folder.join("report.md"), markdown(head, &rows)).context("write the report")
}

fn markdown(head: &str, rows: &[Row]) -> String {
    let mut text =
        format!("{head}\n\n| Scenario | Bar | | Figure | Took |\n|---|---|---|---|---|\n");
    for row in rows {
        let verdict = match row.passed {
            true if row.figure.starts_with(NOT_RUN) => "not run",
            true => "holds",
            false => "**BROKEN**",
        };
        let cells = [&row.name, &row.bar, verdict, &row.figure].map(cell);
        let [name, bar, verdict, figure] = cells;
        // A string takes everything.
        let _ = writeln!(
            text,
            "| {name} | {bar} | {verdict} | {figure} | {} s |",
            row.seconds
        );
    }
    text
}

/// On one line, and without what would end the cell.
fn cell(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Moment, Sessions, Streams};

    fn figures(failed: u64, lost: u64, ended: u64, broken: u64) -> Figures {
        let total = Counts {
            sent: 100,
            failed,
            retried: 1,
            sessions: Sessions { opened: 10, lost },
            streams: Streams {
                opened: 20,
                ended,
                broken,
                ..Streams::default()
            },
            ..Counts::default()
        };
        Figures {
            seconds: 1.0,
            legacy: total.clone(),
            modern: Counts::default(),
            total,
            outage_ms: 0.0,
            timeline: Vec::new(),
        }
    }

    fn broken(verdict: &Verdict) -> Vec<&str> {
        verdict.broken.iter().map(String::as_str).collect()
    }

    #[test]
    fn a_planned_change_of_workers_is_not_noticed() {
        let verdict = |figures| Verdict::default().unnoticed(&figures);
        assert_eq!(broken(&verdict(figures(0, 0, 0, 0))), [""; 0]);
        assert_eq!(broken(&verdict(figures(2, 0, 0, 0))), ["2 requests failed"]);
        assert_eq!(
            broken(&verdict(figures(0, 3, 0, 0))),
            ["3 sessions were lost"]
        );
        assert_eq!(
            broken(&verdict(figures(0, 0, 1, 1))),
            ["2 streams were closed"]
        );
    }

    #[test]
    fn edges_may_end_streams_that_can_be_resumed() {
        let verdict = |figures| Verdict::default().resumable(&figures);
        assert_eq!(broken(&verdict(figures(0, 0, 9, 0))), [""; 0]);
        let noticed = verdict(figures(0, 0, 9, 1));
        assert_eq!(broken(&noticed), ["1 streams broke or did not open again"]);
    }

    #[test]
    fn a_window_with_a_loss_is_judged_by_what_is_told_and_until_when() {
        let mut seen = figures(0, 0, 0, 0);
        seen.total.sent = 10_000;
        seen.total.refused = 10;
        let failed = |second| Moment { second, failed: 5 };
        seen.timeline = vec![failed(3), failed(32)];
        let verdict = |figures: &Figures| Verdict::default().available(figures);
        let late = "it took too long until none failed";
        assert_eq!(broken(&verdict(&seen)), [late]);
        seen.timeline[1] = failed(31);
        assert_eq!(broken(&verdict(&seen)), [""; 0]);
        seen.total.failed = 1;
        let few = ["too few were answered", "1 requests failed untold"];
        assert_eq!(broken(&verdict(&seen)), few);
    }

    #[test]
    fn a_load_that_sent_nothing_proves_nothing() {
        let mut idle = figures(0, 0, 0, 0);
        idle.total.sent = 0;
        let verdict = Verdict::default().unnoticed(&idle);
        assert_eq!(broken(&verdict), ["nothing was sent"]);
    }

    #[test]
    fn what_takes_too_long_is_named_first() {
        let limit = Duration::from_secs(10);
        let verdict = Verdict::default().back_within(limit, &[Duration::from_secs(12)]);
        assert_eq!(
            verdict.line(),
            "**full service took 10 s or more**; full service after 12.0 s"
        );
    }

    #[test]
    fn a_death_is_held_against_s7_and_judged_by_the_bar() {
        let verdict = |ms| Verdict::default().back_after_deaths(&backs(&[ms]), false);
        assert!(verdict(1_900).line().ends_with("; within S7's 2 s"));
        let late = verdict(2_000);
        assert_eq!(broken(&late), [""; 0]);
        assert!(late.line().ends_with("NOT within S7's 2 s"), "{late:?}");
        let too_late = "full service took 10 s or more";
        assert_eq!(broken(&verdict(10_000)), [too_late]);
    }

    fn backs(ms: &[u64]) -> Vec<Duration> {
        ms.iter().map(|ms| Duration::from_millis(*ms)).collect()
    }

    #[test]
    fn a_process_dies_again_while_that_may_show_what_s7_wants() {
        let repeats = |ms: &[u64]| is_to_repeat(&backs(ms), LIGHT);
        assert!(repeats(&[]) && repeats(&[2_000]) && repeats(&[9_999, 2_000]));
        assert!(!repeats(&[1_999]) && !repeats(&[4_000, 1_999]));
        assert!(!repeats(&[10_000]), "no other try makes that good");
        assert!(!repeats(&[4_000; 3]), "three are enough");
        let beside_a_heavy_load = |ms: &[u64]| is_to_repeat(&backs(ms), LIGHT + 1);
        assert!(beside_a_heavy_load(&[]) && !beside_a_heavy_load(&[4_000]));
    }

    #[test]
    fn the_best_of_some_deaths_is_held_against_s7() {
        let verdict = |ms: &[u64]| Verdict::default().back_after_deaths(&backs(ms), true);
        let in_time = verdict(&[4_200, 1_100]);
        let line = "full service after 4.2, 1.1 s; within S7's 2 s";
        assert_eq!(in_time.line(), line);
        let never = "full service was never back within S7's 2 s";
        assert_eq!(broken(&verdict(&[4_000, 3_000, 2_000])), [never]);
        let late = "full service took 10 s or more";
        assert_eq!(broken(&verdict(&[4_000, 10_000])), [late, never]);
        assert!(is_light(LIGHT) && !is_light(LIGHT + 1));
    }

    #[test]
    fn the_image_is_small() {
        let verdict = |bytes| Verdict::default().image(bytes);
        assert_eq!(verdict(Some(39_900_000)).line(), "image 39.9 MB");
        assert_eq!(
            verdict(Some(40_000_000)).line(),
            "**the image is too large**; image 40.0 MB"
        );
        assert_eq!(broken(&verdict(None)), [""; 0]);
    }

    #[test]
    fn the_report_grows_by_a_row_each() {
        let folder = tempfile::tempdir().unwrap();
        let row = |name: &str, passed| Row {
            name: name.to_owned(),
            bar: "a | b".to_owned(),
            figure: "two\nlines".to_owned(),
            passed,
            seconds: 7,
        };
        add(folder.path(), "# Head", row("one", true)).unwrap();
        add(folder.path(), "# Head", row("two", false)).unwrap();
        let text = std::fs::read_to_string(folder.path().join("report.md")).unwrap();
        assert!(text.starts_with("# Head\n\n| Scenario"), "{text}");
        assert!(
            text.contains("| one | a \\| b | holds | two lines | 7 s |\n"),
            "{text}"
        );
        assert!(
            text.ends_with("| two | a \\| b | **BROKEN** | two lines | 7 s |\n"),
            "{text}"
        );
    }
}
