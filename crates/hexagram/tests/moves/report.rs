//! What a scenario came to, as a row of the table in docs/movement.md.

use std::collections::BTreeMap;
use std::time::Duration;

use hexagram_sim::history::{Counts, Deed, History, Step};

use crate::steps;

/// Prints the scenario's row. `faults`: when something was done to the cluster, and
/// until when every client was served after it.
pub(crate) fn print(scenario: &str, history: &History, counts: &Counts, faults: &[Duration]) {
    let waits = waits(history);
    let mut latencies: Vec<_> = history.exchanges.iter().filter_map(took).collect();
    latencies.sort_unstable();
    let served: Vec<_> = faults.iter().map(|took| seconds(*took)).collect();
    eprintln!(
        "| {scenario} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
        counts.sent,
        counts.answered,
        counts.refused,
        counts.unknown,
        counts.gone,
        counts.cut,
        counts.lost,
        counts.twice,
        counts.moves,
        millis(&counts.pauses),
        millis(&waits),
        millis(&latencies),
        served.join(", "),
    );
}

/// From when it was due until it was answered.
fn took(exchange: &hexagram_sim::history::Exchange) -> Option<Duration> {
    Some(exchange.ended? - exchange.sent)
}

/// For each planned move, the longest that a client of the shard waited meanwhile.
fn waits(history: &History) -> Vec<Duration> {
    let shards = steps::shards(&history.events);
    let mut frozen = BTreeMap::new();
    let mut waits = Vec::new();
    for event in &history.events {
        let Step::Shard { what, shard, epoch } = &event.step else {
            continue;
        };
        if *what == Deed::Frozen {
            frozen.insert((*shard, *epoch), event.at);
        }
        let since = match *what == Deed::Activated {
            true => frozen.remove(&(*shard, *epoch)),
            false => None,
        };
        let Some(since) = since else { continue };
        let beside = history.exchanges.iter().filter(|one| {
            let of = shards.get(one.id.as_str());
            let is_there = of.is_some_and(|of| of.contains(shard));
            is_there && one.sent <= event.at && one.ended.is_some_and(|ended| ended >= since)
        });
        waits.extend(beside.filter_map(took).max());
    }
    waits.sort_unstable();
    waits
}

/// p50, p99 and the most of sorted times.
fn millis(sorted: &[Duration]) -> String {
    let Some(last) = sorted.len().checked_sub(1) else {
        return "-".to_owned();
    };
    let at = |percent: usize| sorted[last * percent / 100].as_secs_f64() * 1e3;
    format!("{:.1} / {:.1} / {:.1} ms", at(50), at(99), at(100))
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
