//! Who owns what, as the `ShardMap` object says.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::kubectl::Pod;

/// The shard map at one moment.
#[derive(Debug, Clone, Deserialize)]
pub struct Shards {
    /// A later map has a greater one.
    #[serde(default)]
    pub version: u64,
    shards: Vec<Shard>,
    /// What the columns tell.
    #[serde(default)]
    summary: Summary,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Summary {
    workers: usize,
}

#[derive(Debug, Clone, Deserialize)]
struct Shard {
    shard: u32,
    /// `POD/INCARNATION`.
    #[serde(default)]
    owner: String,
    #[serde(default)]
    epoch: u64,
    #[serde(default)]
    moving: Option<Value>,
    /// Its owner is gone, and nobody serves it.
    #[serde(default)]
    quarantined: bool,
}

impl Shard {
    fn pod(&self) -> &str {
        self.owner
            .split_once('/')
            .map_or(&self.owner, |(pod, _)| pod)
    }
}

impl Shards {
    /// The only shard map in a list of objects.
    ///
    /// # Errors
    /// When there is none or more than one, or nothing is placed yet.
    pub(crate) fn of(list: &Value) -> Result<Self> {
        let items = list["items"].as_array().into_iter().flatten();
        let maps: Vec<_> = items.filter(|item| item["kind"] == "ShardMap").collect();
        let [map] = maps[..] else {
            bail!("{} shard maps, not one", maps.len());
        };
        Self::deserialize(&map["status"]).context("read the status of the shard map")
    }

    /// Checks that nothing has to change: each of these pods owns shards, nobody else
    /// does, and none moves.
    ///
    /// # Errors
    /// Saying what is not so.
    pub(crate) fn rest_on(&self, pods: &[&Pod]) -> Result<()> {
        ensure!(!self.shards.is_empty(), "the shard map has no shards");
        let moving = self.shards.iter().filter(|shard| shard.moving.is_some());
        let moving = moving.count();
        ensure!(moving == 0, "{moving} shards are moving");
        let owners: BTreeSet<_> = self.shards.iter().map(Shard::pod).collect();
        let pods: BTreeSet<_> = pods.iter().map(|pod| pod.name.as_str()).collect();
        ensure!(
            owners == pods,
            "shards are owned by {owners:?}, not by {pods:?}"
        );
        Ok(())
    }

    /// The shards whose epoch is lower than it was, which must never be, and those that
    /// are gone.
    #[must_use]
    pub fn sunk_since(&self, before: &Self) -> Vec<u32> {
        let now: BTreeMap<_, _> = self.shards.iter().map(|it| (it.shard, it.epoch)).collect();
        let sunk = |it: &&Shard| now.get(&it.shard).is_none_or(|epoch| *epoch < it.epoch);
        let sunk = before.shards.iter().filter(sunk);
        sunk.map(|it| it.shard).collect()
    }

    /// Who owns each shard, by its number: `POD/INCARNATION`.
    #[must_use]
    pub fn owners(&self) -> BTreeMap<u32, &str> {
        let owners = self.shards.iter();
        owners.map(|it| (it.shard, it.owner.as_str())).collect()
    }

    /// Whether the columns count the workers that own shards and serve them.
    #[must_use]
    pub fn are_counted(&self) -> bool {
        let served = self.shards.iter().filter(|it| !it.quarantined);
        let owners: BTreeSet<_> = served.map(|it| &it.owner).collect();
        self.summary.workers == owners.len()
    }

    /// The epoch of each shard, in the order of the object.
    #[must_use]
    pub fn epochs(&self) -> Vec<u64> {
        self.shards.iter().map(|it| it.epoch).collect()
    }

    /// How many shards have another epoch than before, and how many epochs the one that
    /// changed most went through.
    #[must_use]
    pub fn changes_since(&self, before: &Self) -> (usize, u64) {
        let then: BTreeMap<_, _> = before
            .shards
            .iter()
            .map(|it| (it.shard, it.epoch))
            .collect();
        let steps = |it: &Shard| {
            let epoch = then.get(&it.shard).copied().unwrap_or_default();
            it.epoch.saturating_sub(epoch)
        };
        let steps = self.shards.iter().map(steps);
        let changed = steps.clone().filter(|steps| *steps > 0).count();
        (changed, steps.max().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubectl::Role;
    use serde_json::json;

    fn shards(owners: &[(&str, u64)]) -> Shards {
        let shard = |(number, (owner, epoch)): (usize, &(&str, u64))| json!({"shard": number, "owner": owner, "epoch": epoch});
        let shards: Vec<_> = owners.iter().enumerate().map(shard).collect();
        let status = json!({"version": 3, "shards": shards, "summary": {"workers": 2}});
        Shards::deserialize(&status).unwrap()
    }

    fn pods(names: &[&str]) -> Vec<Pod> {
        let pod = |name: &&str| Pod {
            role: Role::Worker,
            name: (*name).to_owned(),
            node: "node".to_owned(),
            ip: String::new(),
            is_running: true,
            is_ready: true,
            is_ending: false,
            restarts: 0,
        };
        names.iter().map(pod).collect()
    }

    fn rest(map: &Shards, names: &[&str]) -> Result<()> {
        map.rest_on(&pods(names).iter().collect::<Vec<_>>())
    }

    #[test]
    fn at_rest_each_pod_owns_shards_and_nobody_else_does() {
        let map = shards(&[("a/1f", 1), ("b/2e", 1), ("a/1f", 1)]);
        assert!(rest(&map, &["b", "a"]).is_ok());
        assert!(rest(&map, &["a"]).is_err());
        assert!(rest(&map, &["a", "b", "c"]).is_err());
    }

    #[test]
    fn a_move_is_no_rest() {
        let mut map = shards(&[("a/1f", 1)]);
        map.shards[0].moving = Some(json!({"to": "b/2e", "epoch": 2}));
        let error = rest(&map, &["a"]).unwrap_err();
        assert_eq!(error.to_string(), "1 shards are moving");
    }

    #[test]
    fn the_columns_count_lives_of_workers() {
        assert!(shards(&[("a/1f", 1), ("b/2e", 1), ("a/1f", 1)]).are_counted());
        assert!(!shards(&[("a/1f", 1)]).are_counted());
    }

    #[test]
    fn the_columns_leave_out_who_is_gone_from_its_shards() {
        let mut map = shards(&[("a/1f", 1), ("b/2e", 1), ("c/3d", 1)]);
        assert!(!map.are_counted());
        map.shards[2].quarantined = true;
        assert!(map.are_counted());
    }

    #[test]
    fn an_epoch_that_sank_is_seen() {
        let before = shards(&[("a/1", 4), ("b/1", 4), ("a/1", 4)]);
        let after = shards(&[("a/1", 3), ("b/1", 9)]);
        assert_eq!(after.sunk_since(&before), [0, 2]);
        assert_eq!(before.sunk_since(&before), [0; 0]);
    }

    #[test]
    fn epochs_tell_what_moved() {
        let before = shards(&[("a/1", 1), ("a/1", 4), ("b/1", 2)]);
        let after = shards(&[("a/1", 1), ("b/1", 6), ("a/1", 3)]);
        assert_eq!(after.changes_since(&before), (2, 2));
        assert_eq!(before.changes_since(&before), (0, 0));
    }
}
