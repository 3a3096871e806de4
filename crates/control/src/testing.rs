//! Owners, entries and maps that several test modules share.

#![allow(clippy::unwrap_used, reason = "a test ends at what it cannot use")]

use std::collections::BTreeMap;
use std::sync::Arc;

use hexagram_core::{Entry, Epoch, Incarnation, Owner, RegisterMap, ShardCount, ShardId};
use hexagram_proto::WorkerAddress;
use hexagram_proto::admin::Phase;
use hexagram_runtime::metrics::Metrics;

use crate::fleet::{Fleet, Held, Report};
use crate::introduction::Introduction;
use crate::metrics::ControlMetrics;
use crate::request::Settings;

pub(crate) fn owner(worker: u8, life: u64) -> Owner {
    Owner {
        worker: format!("worker-{worker}").parse().unwrap(),
        incarnation: Incarnation::new(life).unwrap(),
    }
}

pub(crate) fn epoch(number: u64) -> Epoch {
    Epoch::new(number).unwrap()
}

pub(crate) fn count(shards: u16) -> ShardCount {
    shards.try_into().unwrap()
}

/// Of a controller of so many shards, which dials workers over TCP.
pub(crate) fn settings(shards: u16) -> Settings {
    Settings {
        cluster: "c".to_owned(),
        shards: count(shards),
        expected: None,
        dial: Arc::new(|address| WorkerAddress::Tcp(address.to_owned())),
        metrics: ControlMetrics::register(&Metrics::new()),
    }
}

pub(crate) fn map(version: u64, entries: Vec<Entry<Owner>>) -> RegisterMap {
    let shards = count(u16::try_from(entries.len()).unwrap());
    RegisterMap::new(version, shards, entries, BTreeMap::new()).unwrap()
}

pub(crate) fn held(phase: Phase, at: u64) -> Held {
    Held {
        phase,
        epoch: Epoch::new(at),
        spent: Epoch::new(at),
        resumed: None,
        failed: None,
        load: 0,
    }
}

pub(crate) fn report(shards: &[(ShardId, Held)]) -> Report {
    Report {
        shards: shards.iter().copied().collect(),
        capacity: 1_000_000,
        ..Report::default()
    }
}

/// A worker that says nothing of its setup.
pub(crate) fn introduced(owner: &Owner) -> Introduction {
    Introduction::new(owner.clone(), "127.0.0.1:1".to_owned())
}

/// Living workers with what they hold of shard 0.
pub(crate) fn fleet(workers: &[(&Owner, Held)]) -> Fleet {
    let mut fleet = Fleet::default();
    let shard = count(1).shard(0).unwrap();
    for (owner, held) in workers {
        fleet.join(&introduced(owner)).unwrap();
        fleet.reported(owner, report(&[(shard, *held)]));
    }
    fleet
}
