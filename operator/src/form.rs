//! The shard map, in and out of its object.

use std::collections::{BTreeMap, BTreeSet};

use hexagram_control::FormError;
use hexagram_core::{Entry, Epoch, Owner, Plan, RegisterMap, ShardCount, ShardId};

use crate::shard_map::{MoveEntry, ShardEntry, ShardMapStatus, Summary, WorkerEntry};

/// The status that says what `map` says.
pub(crate) fn status(map: &RegisterMap) -> ShardMapStatus {
    let workers = map.addresses().iter().map(|(owner, address)| WorkerEntry {
        name: owner.to_string(),
        address: address.clone(),
    });
    ShardMapStatus {
        version: signed(map.version()),
        shards: map.entries().map(shard_entry).collect(),
        workers: workers.collect(),
        summary: summary(map),
    }
}

/// The map that a status is; `None` where it was never written.
///
/// # Errors
/// The reason why it is none of this cluster.
pub(crate) fn map(
    status: &ShardMapStatus,
    count: ShardCount,
) -> Result<Option<RegisterMap>, FormError> {
    if status.shards.is_empty() {
        return Ok(None);
    }
    let version = u64::try_from(status.version);
    let version = version.map_err(|_| damaged("its version"))?;
    let wrong_count = FormError::Shards {
        ours: count,
        theirs: status.shards.len(),
    };
    // The API server keeps the keys apart, not the order.
    let by_number: BTreeMap<_, _> = status.shards.iter().map(|one| (one.shard, one)).collect();
    let entries = count.iter().map(|shard| by_number.get(&shard.get()));
    let entries: Option<Vec<_>> = entries.collect();
    let entries = entries.filter(|all| all.len() == status.shards.len());
    let entries = entries.ok_or_else(|| wrong_count.clone())?;
    let entries = entries.into_iter().map(|one| entry(one));
    let workers = status.workers.iter().map(worker);
    let (entries, workers) = (
        entries.collect::<Result<_, _>>()?,
        workers.collect::<Result<_, _>>()?,
    );
    let map = RegisterMap::new(version, count, entries, workers);
    map.ok_or(wrong_count).map(Some)
}

fn shard_entry((shard, entry): (ShardId, &Entry<Owner>)) -> ShardEntry {
    let moving = entry.plan().map(|plan| MoveEntry {
        to: plan.to.to_string(),
        epoch: signed(plan.epoch.get()),
    });
    ShardEntry {
        shard: shard.get(),
        owner: entry.owner().to_string(),
        epoch: signed(entry.epoch().get()),
        spent: signed(entry.spent().get()),
        moving,
        quarantined: entry.is_quarantined(),
    }
}

/// What the columns tell of `map`.
pub(crate) fn summary(map: &RegisterMap) -> Summary {
    let entries = || map.entries().map(|(_, entry)| entry);
    let owners = entries().filter(|entry| !entry.is_quarantined());
    let owners: BTreeSet<_> = owners.map(Entry::owner).collect();
    Summary {
        workers: number(owners.len()),
        moving: number(entries().filter(|entry| entry.plan().is_some()).count()),
        quarantined: number(entries().filter(|entry| entry.is_quarantined()).count()),
    }
}

fn entry(form: &ShardEntry) -> Result<Entry<Owner>, FormError> {
    let at = || format!("shard {}", form.shard);
    let plan = form.moving.as_ref().map(|plan| {
        Ok(Plan {
            to: owner(&plan.to)?,
            epoch: epoch(plan.epoch, at)?,
        })
    });
    let entry = Entry::restore(
        owner(&form.owner)?,
        epoch(form.epoch, at)?,
        plan.transpose()?,
        epoch(form.spent, at)?,
    );
    let entry = entry.and_then(|entry| entry.restore_quarantine(form.quarantined));
    entry.ok_or_else(|| damaged(at()))
}

fn worker(form: &WorkerEntry) -> Result<(Owner, String), FormError> {
    Ok((owner(&form.name)?, form.address.clone()))
}

fn owner(text: &str) -> Result<Owner, FormError> {
    text.parse().map_err(|_| damaged(text))
}

fn epoch(number: i64, at: impl Fn() -> String) -> Result<Epoch, FormError> {
    let epoch = u64::try_from(number).ok().and_then(Epoch::new);
    epoch.ok_or_else(|| damaged(at()))
}

fn damaged(at: impl Into<String>) -> FormError {
    FormError::Damaged(at.into())
}

/// Versions and epochs begin at milliseconds since 1970 and count single changes.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use hexagram_core::Incarnation;

    use super::*;

    fn owner(life: u64) -> Owner {
        Owner {
            worker: "worker-0".parse().unwrap(),
            incarnation: Incarnation::new(life).unwrap(),
        }
    }

    fn count() -> ShardCount {
        ShardCount::try_from(4).unwrap()
    }

    fn sample() -> RegisterMap {
        let at = |n| Epoch::new(n).unwrap();
        let still = Entry::new(owner(1), at(7));
        let moving = still.move_to(owner(2)).unwrap();
        let entries = vec![still.clone(), moving, still.quarantine().unwrap(), still];
        let addresses = [(owner(1), "10.0.0.1:7100".to_owned())].into();
        RegisterMap::new(9, count(), entries, addresses).unwrap()
    }

    #[test]
    fn a_map_comes_back_as_it_was() {
        let status = status(&sample());
        assert_eq!(map(&status, count()), Ok(Some(sample())));
        let Summary {
            workers,
            moving,
            quarantined,
        } = status.summary;
        assert_eq!((workers, moving, quarantined), (1, 1, 1));
    }

    #[test]
    fn the_order_of_the_shards_says_nothing() {
        let mut status = status(&sample());
        status.shards.reverse();
        assert_eq!(map(&status, count()), Ok(Some(sample())));
    }

    #[test]
    fn no_status_is_no_map() {
        assert_eq!(map(&ShardMapStatus::default(), count()), Ok(None));
    }

    #[test]
    fn what_no_operator_writes_is_refused_with_its_place() {
        type Edit = fn(&mut ShardMapStatus);
        let edits: [(&str, Edit); 5] = [
            ("3 shards", |s| drop(s.shards.pop())),
            ("shard 1", |s| s.shards[1].epoch = 0),
            ("shard 0", |s| s.shards[0].spent = 1),
            ("nobody", |s| "nobody".clone_into(&mut s.shards[3].owner)),
            ("version", |s| s.version = -1),
        ];
        for (says, edit) in edits {
            let mut status = status(&sample());
            edit(&mut status);
            let error = map(&status, count()).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
