//! The cluster as people look at it.

use hexagram_core::{Entry, Owner, RegisterMap, ShardId};
use serde::Serialize;

use crate::decide::View;
use crate::fleet::{Life, Member};

/// What the controller knows of the cluster beside its map.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Overview {
    /// Whom the map names or could; the dead only as long as they own something.
    pub workers: Vec<WorkerOverview>,
    /// The busiest worker's load for the mean of all; `None` while nobody has any.
    pub imbalance: Option<f64>,
    /// By shard: the share of one core's time that it takes.
    #[serde(skip)]
    pub loads: Vec<f64>,
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
    /// Whether it is to be empty.
    pub draining: bool,
    /// The share of its time that its shards take; `None` where it does not say.
    pub load: Option<f64>,
}

impl Overview {
    pub(crate) fn of(view: &View<'_>) -> Self {
        let load = |(shard, entry): (ShardId, &Entry<Owner>)| {
            let held = view.fleet.held(entry.owner(), shard);
            held.map_or(0.0, |held| held.load as f64 / 1e6)
        };
        let loads: Vec<f64> = view.map.entries().map(load).collect();
        let named = |owner: &Owner| view.map.addresses().contains_key(owner);
        let members = view.fleet.members().filter(|(owner, _)| named(owner));
        let workers = members.map(|(owner, member)| worker(view, owner, member, &loads));
        Self {
            workers: workers.collect(),
            imbalance: view.layout().imbalance(),
            loads,
        }
    }
}

fn worker(view: &View<'_>, owner: &Owner, member: &Member, loads: &[f64]) -> WorkerOverview {
    let capacity = view.fleet.capacity(owner) as f64 / 1e6;
    let used = carried(view.map, owner, loads);
    WorkerOverview {
        name: owner.worker.to_string(),
        incarnation: owner.incarnation.to_string(),
        address: member.address.clone(),
        life: match member.life {
            Life::Alive => "alive",
            Life::Suspect => "suspect",
            Life::Dead => "dead",
        },
        draining: view.is_draining(owner),
        load: (capacity > 0.0).then(|| used / capacity),
    }
}

fn carried(map: &RegisterMap, owner: &Owner, loads: &[f64]) -> f64 {
    let own = map.entries().filter(|(_, entry)| entry.owner() == owner);
    own.map(|(shard, _)| loads[shard.index()]).sum()
}
