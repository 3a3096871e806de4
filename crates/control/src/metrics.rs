//! What a controller counts, and what it shows of its cluster.

use std::collections::{BTreeMap, BTreeSet};

use hexagram_core::{Entry, Epoch, Owner, RegisterMap, ShardId};
use hexagram_runtime::metrics::Metrics;
use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::decide::{Change, Why};
use crate::overview::{Overview, WorkerOverview};
use crate::register::RegisterError;

/// As [`WorkerOverview::life`] has them.
const LIVES: [&str; 3] = ["alive", "suspect", "dead"];
/// Of a move that another controller began.
const UNKNOWN: &str = "unknown";

/// The controller's metrics.
#[derive(Clone, Debug)]
pub struct ControlMetrics {
    workers: IntGaugeVec,
    worker_shards: IntGaugeVec,
    worker_load: GaugeVec,
    shard_load: GaugeVec,
    imbalance: Gauge,
    map_version: IntGauge,
    moving: IntGauge,
    quarantined: IntGauge,
    moves: IntCounterVec,
    failovers: IntCounter,
    writes: IntCounterVec,
    lost: IntCounter,
    /// The moves under way: the epoch of each and why it began.
    begun: BTreeMap<ShardId, (Epoch, &'static str)>,
    /// The workers that are shown.
    shown: BTreeSet<String>,
}

impl ControlMetrics {
    /// Registers them, once for a process.
    #[must_use]
    pub fn register(metrics: &Metrics) -> Self {
        Self {
            workers: metrics.gauges(
                "hexagram_control_workers",
                "Workers that the map names, by whether they live.",
                &["life"],
            ),
            worker_shards: metrics.gauges(
                "hexagram_control_worker_shards",
                "Shards that a worker owns, without those in quarantine.",
                &["worker"],
            ),
            worker_load: metrics.ratios(
                "hexagram_control_worker_load",
                "Share of its time that a worker's shards take; 0 where it does not say.",
                &["worker"],
            ),
            shard_load: metrics.ratios(
                "hexagram_shard_load",
                "Share of one core's time that a shard takes at its owner.",
                &["shard"],
            ),
            imbalance: metrics.ratio(
                "hexagram_control_imbalance",
                "The busiest worker's load for the mean of all; 0 while none is so busy that it matters.",
            ),
            map_version: metrics.gauge(
                "hexagram_control_map_version",
                "Version of the shard map; 0 while there is none.",
            ),
            moving: metrics.gauge("hexagram_control_shards_moving", "Shards that move."),
            quarantined: metrics.gauge(
                "hexagram_control_shards_quarantined",
                "Shards that nobody is to serve.",
            ),
            moves: metrics.counters(
                "hexagram_control_moves_total",
                "Moves planned, and how they ended, by why they began. One whose giver died is \
                 aborted, wherever its shard went.",
                &["step", "why"],
            ),
            failovers: metrics.counter(
                "hexagram_control_failovers_total",
                "Shards given to another because their owner was lost.",
            ),
            writes: metrics.counters(
                "hexagram_control_register_writes_total",
                "Writes of the shard map, by result.",
                &["result"],
            ),
            lost: metrics.counter(
                "hexagram_control_workers_lost_total",
                "Workers that died without having been told to end.",
            ),
            begun: BTreeMap::new(),
            shown: BTreeSet::new(),
        }
    }

    pub(crate) fn wrote(&self, done: &Result<(), RegisterError>) {
        let result = match done {
            Ok(()) => "ok",
            Err(RegisterError::Conflict { .. }) => "conflict",
            Err(_) => "failed",
        };
        self.writes.with_label_values(&[result]).inc();
    }

    pub(crate) fn lost(&self, workers: u64) {
        self.lost.inc_by(workers);
    }

    /// Counts a change that is written, of a shard whose entry was `before`.
    pub(crate) fn changed(&mut self, before: &Entry<Owner>, change: &Change) {
        if change.why == Why::FailedOver {
            self.failovers.inc();
        }
        let (old, new) = (before.plan(), change.entry.plan());
        if old == new {
            return;
        }
        if let Some(plan) = old {
            self.move_ended(change, plan.epoch);
        }
        if let Some(plan) = new {
            let why = motive(change.why);
            self.begun.insert(change.shard, (plan.epoch, why));
            self.moves.with_label_values(&["planned", why]).inc();
        }
    }

    fn move_ended(&mut self, change: &Change, epoch: Epoch) {
        let begun = self.begun.remove(&change.shard);
        let begun = begun.filter(|(begun, _)| *begun == epoch);
        let step = match change.why {
            Why::Committed => "committed",
            _ => "aborted",
        };
        let why = begun.map_or(UNKNOWN, |(_, why)| why);
        self.moves.with_label_values(&[step, why]).inc();
    }

    /// Shows the cluster as it is now.
    pub(crate) fn show(&mut self, map: &RegisterMap, overview: &Overview) {
        let version = i64::try_from(map.version());
        self.map_version.set(version.unwrap_or(i64::MAX));
        let count = |which: fn(&Entry<Owner>) -> bool| {
            let entries = map.entries().filter(|(_, entry)| which(entry));
            number(entries.count())
        };
        self.moving.set(count(|entry| entry.plan().is_some()));
        self.quarantined.set(count(Entry::is_quarantined));
        self.imbalance.set(overview.imbalance.unwrap_or(0.0));
        self.show_workers(&overview.workers);
        for ((shard, _), load) in map.entries().zip(&overview.loads) {
            let gauge = self.shard_load.with_label_values(&[&shard.to_string()]);
            gauge.set(*load);
        }
    }

    /// Shows nothing: another controller may know better.
    pub(crate) fn hide(&self) {
        self.workers.reset();
        self.worker_shards.reset();
        self.worker_load.reset();
        self.shard_load.reset();
        self.imbalance.set(0.0);
        for gauge in [&self.map_version, &self.moving, &self.quarantined] {
            gauge.set(0);
        }
    }

    fn show_workers(&mut self, workers: &[WorkerOverview]) {
        for life in LIVES {
            let alike = workers.iter().filter(|worker| worker.life == life);
            let gauge = self.workers.with_label_values(&[life]);
            gauge.set(number(alike.count()));
        }
        let names: BTreeSet<_> = workers.iter().map(|worker| worker.name.clone()).collect();
        for gone in self.shown.difference(&names) {
            // Whoever is shown has both.
            let _ = self.worker_shards.remove_label_values(&[gone]);
            let _ = self.worker_load.remove_label_values(&[gone]);
        }
        for name in &names {
            // A dead life of a name may own something still.
            let lives = || workers.iter().filter(|worker| worker.name == *name);
            let shards = self.worker_shards.with_label_values(&[name]);
            shards.set(number(lives().map(|worker| worker.shards).sum()));
            let load = lives().filter_map(|worker| worker.load);
            let gauge = self.worker_load.with_label_values(&[name]);
            gauge.set(load.fold(0.0, f64::max));
        }
        self.shown = names;
    }
}

const fn motive(why: Why) -> &'static str {
    match why {
        Why::Balanced => "balance",
        Why::Drained => "drain",
        Why::Filled => "fill",
        Why::Ordered => "order",
        _ => UNKNOWN,
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends at what it cannot use")]

    use super::*;
    use crate::testing::{count, epoch, map, owner};

    struct Scene {
        all: Metrics,
        metrics: ControlMetrics,
        entry: Entry<Owner>,
    }

    impl Scene {
        fn new() -> Self {
            let all = Metrics::new();
            let metrics = ControlMetrics::register(&all);
            let entry = Entry::new(owner(0, 1), epoch(1));
            Self {
                all,
                metrics,
                entry,
            }
        }

        /// Shard 0 becomes this.
        fn change(&mut self, entry: Entry<Owner>, why: Why) {
            let shard = count(1).shard(0).unwrap();
            let change = Change { shard, entry, why };
            self.metrics.changed(&self.entry, &change);
            self.entry = change.entry;
        }

        fn plan(&mut self, to: u8, why: Why) -> Epoch {
            self.change(self.entry.move_to(owner(to, 1)).unwrap(), why);
            self.entry.plan().unwrap().epoch
        }

        fn shows(&self, line: &str) {
            let text = self.all.encode();
            assert!(text.contains(&format!("\n{line}\n")), "{line}: {text}");
        }
    }

    #[test]
    fn a_move_is_counted_by_why_it_began_and_how_it_ended() {
        let mut scene = Scene::new();
        let at = scene.plan(1, Why::Drained);
        let moved = scene.entry.commit(&owner(1, 1), at).unwrap();
        scene.change(moved, Why::Committed);
        let at = scene.plan(2, Why::Balanced);
        scene.change(scene.entry.abort(at).unwrap(), Why::Aborted);
        // Another controller's.
        scene.entry = scene.entry.move_to(owner(2, 1)).unwrap();
        let at = scene.entry.plan().unwrap().epoch;
        scene.change(scene.entry.abort(at).unwrap(), Why::Aborted);
        for (step, why) in [
            ("planned", "drain"),
            ("committed", "drain"),
            ("planned", "balance"),
            ("aborted", "balance"),
            ("aborted", "unknown"),
        ] {
            scene.shows(&format!(
                r#"hexagram_control_moves_total{{step="{step}",why="{why}"}} 1"#
            ));
        }
    }

    #[test]
    fn a_failover_is_counted_and_ends_a_move() {
        let mut scene = Scene::new();
        scene.plan(1, Why::Ordered);
        let failed = scene.entry.fail_over(owner(1, 1)).unwrap();
        scene.change(failed, Why::FailedOver);
        scene.shows("hexagram_control_failovers_total 1");
        scene.shows(r#"hexagram_control_moves_total{step="aborted",why="order"} 1"#);
    }

    #[test]
    fn who_is_gone_is_not_shown() {
        let mut scene = Scene::new();
        let worker = |name: &str, life| WorkerOverview {
            name: name.to_owned(),
            incarnation: "1".to_owned(),
            address: String::new(),
            life,
            dead_for_seconds: None,
            draining: false,
            shards: 2,
            load: Some(0.5),
        };
        let mut overview = Overview {
            workers: vec![
                worker("a", "alive"),
                worker("a", "dead"),
                worker("b", "alive"),
            ],
            loads: vec![0.25],
            ..Overview::default()
        };
        let map = map(7, vec![scene.entry.clone()]);
        scene.metrics.show(&map, &overview);
        scene.shows(r#"hexagram_control_worker_shards{worker="a"} 4"#);
        scene.shows(r#"hexagram_control_worker_load{worker="b"} 0.5"#);
        scene.shows(r#"hexagram_control_workers{life="dead"} 1"#);
        scene.shows(r#"hexagram_shard_load{shard="0"} 0.25"#);
        scene.shows("hexagram_control_map_version 7");
        overview.workers.truncate(1);
        scene.metrics.show(&map, &overview);
        scene.shows(r#"hexagram_control_worker_shards{worker="a"} 2"#);
        scene.shows(r#"hexagram_control_workers{life="dead"} 0"#);
        assert!(!scene.all.encode().contains(r#"worker="b""#));
        scene.metrics.hide();
        assert!(!scene.all.encode().contains(r#"worker="a""#));
        scene.shows("hexagram_control_map_version 0");
    }

    #[test]
    fn writes_are_counted_by_result() {
        let scene = Scene::new();
        let conflict = RegisterError::Conflict {
            stored: 2,
            given: 2,
        };
        let unusable = RegisterError::Unusable(String::new());
        for done in [Ok(()), Err(conflict), Err(unusable)] {
            scene.metrics.wrote(&done);
        }
        for result in ["ok", "conflict", "failed"] {
            scene.shows(&format!(
                r#"hexagram_control_register_writes_total{{result="{result}"}} 1"#
            ));
        }
    }
}
