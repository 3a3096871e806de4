//! The cluster as people look at it.

use std::collections::BTreeMap;

use hexagram_core::{Entry, Owner, RegisterMap, ShardId};
use serde::Serialize;

use crate::decide::View;
use crate::fleet::{Life, Member};
use crate::losses::Losses;
use crate::sights::Sights;

/// What the controller knows of the cluster beside its map.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Overview {
    /// What is waited for, while there is no map.
    #[serde(skip)]
    pub waiting: Option<String>,
    /// Whom the map names or could; the dead only as long as they own something.
    pub workers: Vec<WorkerOverview>,
    /// Those of the last ten minutes that died and own nothing any more, the latest
    /// first, sixteen at most.
    pub lost: Vec<LostOverview>,
    /// The busiest worker's load for the mean of all; `None` while nobody has so much
    /// that it matters.
    pub imbalance: Option<f64>,
    /// By shard: the share of one core's time that it takes.
    #[serde(skip)]
    pub loads: Vec<f64>,
    /// By the name of each living worker that tells: what it says of its upstreams.
    #[serde(skip)]
    pub sights: BTreeMap<String, Sights>,
}

/// A worker in one life.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkerOverview {
    /// Its name.
    pub name: String,
    /// Its life, in hexadecimal.
    pub incarnation: String,
    /// Where it is reached.
    pub address: String,
    /// Whether it lives.
    pub life: &'static str,
    /// How long ago it was found dead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_for_seconds: Option<u64>,
    /// Whether it is to be empty.
    pub draining: bool,
    /// How many shards it owns, without those in quarantine.
    pub shards: usize,
    /// The share of its time that its shards take; `None` where it does not say.
    pub load: Option<f64>,
}

/// A worker that died a while ago.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LostOverview {
    /// Its name.
    pub name: String,
    /// Its life, in hexadecimal.
    pub incarnation: String,
    /// Where it was reached.
    pub address: String,
    /// How long ago it was found dead.
    pub dead_for_seconds: u64,
    /// Whether another process of its name has joined since.
    pub restarted: bool,
}

impl Overview {
    pub(crate) fn of(view: &View<'_>, losses: &Losses) -> Self {
        let load = |(shard, entry): (ShardId, &Entry<Owner>)| {
            let held = view.fleet.held(entry.owner(), shard);
            held.map_or(0.0, |held| held.load as f64 / 1e6)
        };
        let loads: Vec<f64> = view.map.entries().map(load).collect();
        let named = |owner: &Owner| view.map.addresses().contains_key(owner);
        let members = view.fleet.members().filter(|(owner, _)| named(owner));
        let workers = members.map(|(owner, member)| WorkerOverview {
            dead_for_seconds: losses.since(owner, view.now).map(|since| since.as_secs()),
            ..worker(view, owner, member, &loads)
        });
        Self {
            waiting: None,
            workers: workers.collect(),
            lost: lost(view, losses),
            imbalance: view.layout().imbalance(),
            loads,
            sights: sights(view),
        }
    }
}

fn sights(view: &View<'_>) -> BTreeMap<String, Sights> {
    let living = view.fleet.living();
    let told = living.filter_map(|(owner, report)| {
        let sights = report.upstreams.clone()?;
        Some((owner.worker.to_string(), sights))
    });
    told.collect()
}

fn worker(view: &View<'_>, owner: &Owner, member: &Member, loads: &[f64]) -> WorkerOverview {
    let capacity = view.fleet.capacity(owner) as f64 / 1e6;
    let used = carried(view.map, owner, loads);
    WorkerOverview {
        name: owner.worker.to_string(),
        incarnation: owner.incarnation.to_string(),
        address: member.address.clone(),
        life: match view.life(owner) {
            Life::Alive => "alive",
            Life::Suspect => "suspect",
            Life::Dead => "dead",
        },
        dead_for_seconds: None,
        draining: view.is_draining(owner),
        shards: owned(view.map, owner),
        load: (capacity > 0.0).then(|| used / capacity),
    }
}

/// Those that are not among the workers any more.
fn lost(view: &View<'_>, losses: &Losses) -> Vec<LostOverview> {
    let recent = losses.recent(view.now).into_iter();
    let gone = recent.filter(|(owner, _)| !view.map.addresses().contains_key(owner));
    let lost = gone.filter_map(|(owner, loss)| {
        let latest = view.fleet.named(&owner.worker);
        Some(LostOverview {
            name: owner.worker.to_string(),
            incarnation: owner.incarnation.to_string(),
            address: loss.address.clone(),
            dead_for_seconds: losses.since(owner, view.now)?.as_secs(),
            restarted: latest.is_some_and(|(_, member)| member.life != Life::Dead),
        })
    });
    lost.collect()
}

fn carried(map: &RegisterMap, owner: &Owner, loads: &[f64]) -> f64 {
    let own = map.entries().filter(|(_, entry)| entry.owner() == owner);
    own.map(|(shard, _)| loads[shard.index()]).sum()
}

/// How many shards `owner` is to serve.
fn owned(map: &RegisterMap, owner: &Owner) -> usize {
    let own = |entry: &Entry<Owner>| entry.owner() == owner && !entry.is_quarantined();
    map.entries().filter(|(_, entry)| own(entry)).count()
}
