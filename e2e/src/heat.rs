//! How the load of shards lies on their workers: is it one that has to be moved apart?

use std::collections::BTreeMap;
use std::fmt;

use crate::metrics::Metrics;
use crate::report::Verdict;

/// The bar of shards that were brought to one worker, as [`Heat::verdict`] judges it.
pub const HOT: &str = "at least 8 hot shards on one worker, none above 20 % of a worker's mean \
                       load, which is more than 20 % of its time";
const ENOUGH: usize = 8;
/// Of a worker's mean load: whoever has a hotter shard has not much else to give away.
const HOTTEST: f64 = 0.2;
/// The busiest worker's load for the mean of all: more than what is to be had in the end.
const UNEVEN: f64 = 1.35;
/// Of a worker's time. Once it is spread evenly, a lighter load keeps no worker so busy that
/// the operator cares.
const BUSY: f64 = 0.2;
/// The busiest worker's load for the mean of all that is to be had in the end.
pub const EVEN: f64 = 1.3;

/// Who owns each shard, and its load in cores.
#[derive(Debug)]
pub struct Heat<'a>(Vec<(&'a str, f64)>);

impl<'a> Heat<'a> {
    /// Of loads by the shard's number, and of owners; a shard that nobody tells of has no load.
    #[must_use]
    pub fn of(loads: &[(&str, f64)], owners: &BTreeMap<u32, &'a str>) -> Self {
        let load = |shard: &u32| {
            let number = shard.to_string();
            let load = loads.iter().find(|(name, _)| *name == number);
            load.map_or(0.0, |(_, load)| *load)
        };
        let shards = owners.iter();
        Self(shards.map(|(shard, owner)| (*owner, load(shard))).collect())
    }

    /// Whether hot shards are together on one worker, as many and as hot as they should be.
    /// `busy` is the share of its time that a worker needs for its shards, on average.
    #[must_use]
    pub fn verdict(&self, busy: f64) -> Verdict {
        let (total, workers) = (self.total(), self.by_worker());
        let mean = total / workers.len() as f64;
        let busiest = workers.values().map(|(load, _)| *load);
        let uneven = busiest.fold(0.0, f64::max) / mean;
        let hot = workers.values().map(|(_, hot)| *hot).max();
        let (hot, hottest) = (hot.unwrap_or_default(), self.hottest() / mean);
        Verdict::default()
            .shows(format!(
                "{hot} hot shards on one worker, {total:.2} of a core in all, {:.0} % of a \
                 worker's time",
                busy * 100.0
            ))
            .shows(format!(
                "the hottest {:.0} % of a worker's mean load",
                hottest * 100.0
            ))
            .shows(format!("max/mean {uneven:.2} at first"))
            .requires(busy > BUSY, "the load is too light to matter")
            .requires(hot >= ENOUGH, "too few shards are hot")
            .requires(hottest <= HOTTEST, "a shard is too hot")
            .requires(uneven > UNEVEN, "the load was even from the first")
    }

    /// The load of each worker, and how many shards of it have a quarter of the hottest's or
    /// more.
    fn by_worker(&self) -> BTreeMap<&str, (f64, usize)> {
        let hottest = self.hottest();
        let mut workers: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
        for (owner, load) in &self.0 {
            let (all, hot) = workers.entry(owner).or_default();
            *all += load;
            *hot += usize::from(load * 4.0 >= hottest);
        }
        workers
    }

    fn total(&self) -> f64 {
        self.0.iter().map(|(_, load)| load).sum()
    }

    fn hottest(&self) -> f64 {
        let loads = self.0.iter().map(|(_, load)| *load);
        loads.fold(0.0, f64::max)
    }
}

/// How even the operator finds the load of the workers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evenness(Option<f64>);

impl Evenness {
    /// As its metrics tell it.
    #[must_use]
    pub fn of(metrics: &Metrics) -> Self {
        let ratio = metrics.sum("hexagram_control_imbalance", &[]);
        // It shows 0 where it cannot tell.
        Self((ratio > 0.0).then_some(ratio))
    }

    /// Adds to a verdict that it is even enough.
    #[must_use]
    pub fn judged(self, verdict: Verdict) -> Verdict {
        let unknown = "whether it was even is not known: no worker was busy enough for loads to \
                       matter, or one does not say how busy it is";
        verdict.requires(self.0.is_some(), unknown).requires(
            self.0.is_none_or(|ratio| ratio < EVEN),
            "it was not even in time",
        )
    }
}

impl fmt::Display for Evenness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(ratio) => write!(f, "max/mean {ratio:.2}"),
            None => f.write_str("max/mean not known"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with the loads of two workers that have a core each.
    fn wrong(first: &[f64], second: &[f64]) -> Vec<String> {
        let first = first.iter().map(|load| ("a/1", *load));
        let second = second.iter().map(|load| ("b/2", *load));
        let heat = Heat(first.chain(second).collect());
        heat.verdict(heat.total() / 2.0).broken
    }

    #[test]
    fn hot_shards_are_to_be_moved_apart() {
        assert_eq!(wrong(&[0.1; 10], &[0.01; 10]), [""; 0]);
    }

    #[test]
    fn seven_hot_shards_are_too_few() {
        let first = [vec![0.08; 7], vec![0.019; 40]].concat();
        assert_eq!(wrong(&first, &[0.001; 10]), ["too few shards are hot"]);
    }

    #[test]
    fn hot_shards_of_both_workers_are_not_on_one() {
        let wrong = wrong(&[0.1; 7], &[0.1; 7]);
        assert!(
            wrong.contains(&"too few shards are hot".to_owned()),
            "{wrong:?}"
        );
    }

    #[test]
    fn one_shard_may_not_be_most_of_the_load() {
        let first = [vec![0.3], vec![0.1; 9]].concat();
        assert_eq!(wrong(&first, &[0.01; 10]), ["a shard is too hot"]);
    }

    #[test]
    fn a_load_that_is_even_or_light_is_none() {
        let even = [&[0.1; 10][..]; 2];
        assert_eq!(
            wrong(even[0], even[1]),
            ["the load was even from the first"]
        );
        for [first, second] in [[0.01, 0.001], [0.03, 0.005]] {
            assert_eq!(
                wrong(&[first; 10], &[second; 10]),
                ["the load is too light to matter"]
            );
        }
    }

    /// What is shown of such a metric, and what is wrong with it.
    fn evenness(page: &str) -> (String, Vec<String>) {
        let evenness = Evenness::of(&Metrics::from(page.to_owned()));
        let verdict = evenness.judged(Verdict::default());
        (evenness.to_string(), verdict.broken)
    }

    #[test]
    fn even_uneven_and_not_known_are_three_things() {
        let (shown, wrong) = evenness("hexagram_control_imbalance 1.29\n");
        assert_eq!((shown.as_str(), wrong), ("max/mean 1.29", vec![]));
        let (shown, wrong) = evenness("hexagram_control_imbalance 1.3\n");
        assert_eq!(shown, "max/mean 1.30");
        assert_eq!(wrong, ["it was not even in time"]);
        for page in ["hexagram_control_imbalance 0\n", ""] {
            let (shown, wrong) = evenness(page);
            assert_eq!((shown.as_str(), wrong.len()), ("max/mean not known", 1));
            assert!(wrong[0].contains("not known"), "{wrong:?}");
        }
    }

    #[test]
    fn loads_are_those_of_the_owners_of_now() {
        let owners = BTreeMap::from([(0, "a/1"), (1, "b/2")]);
        let heat = Heat::of(&[("1", 0.5)], &owners);
        assert_eq!(heat.0, [("a/1", 0.0), ("b/2", 0.5)]);
    }
}
