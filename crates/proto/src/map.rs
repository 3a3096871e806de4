//! The register's map, as one process tells it to another.

use hexagram_core::{Entry, Epoch, Incarnation, Owner, Plan, RegisterMap, ShardCount};

use crate::Malformed;
use crate::admin::{self, KnownMap, Place};

/// What is told of a map; [`known_map`] reads it.
pub fn map_message(map: &RegisterMap) -> KnownMap {
    let place = |(owner, address): (&Owner, &String)| Place {
        owner: Some(wire(owner)),
        address: address.clone(),
    };
    KnownMap {
        version: map.version(),
        entries: map.entries().map(|(_, entry)| told(entry)).collect(),
        places: map.addresses().iter().map(place).collect(),
    }
}

fn told(entry: &Entry<Owner>) -> admin::Entry {
    let plan = entry.plan().map(|plan| admin::Plan {
        to: Some(wire(&plan.to)),
        epoch: plan.epoch.get(),
    });
    admin::Entry {
        owner: Some(wire(entry.owner())),
        epoch: entry.epoch().get(),
        spent: entry.spent().get(),
        plan,
        quarantined: entry.is_quarantined(),
    }
}

fn wire(owner: &Owner) -> admin::Owner {
    admin::Owner {
        worker: owner.worker.to_string(),
        incarnation: owner.incarnation.get(),
    }
}

/// The map that was told; `None` from one who knows none.
///
/// # Errors
/// [`Malformed`] where the map is not one of so many `shards`, or holds what no register
/// writes.
pub fn known_map(message: &KnownMap, shards: ShardCount) -> Result<Option<RegisterMap>, Malformed> {
    if message.entries.is_empty() {
        return Ok(None);
    }
    let entries = message.entries.iter().map(entry);
    let entries = entries.collect::<Result<_, _>>()?;
    let places = message.places.iter();
    let addresses = places.map(|place| Ok((owner(place.owner.as_ref())?, place.address.clone())));
    let addresses = addresses.collect::<Result<_, Malformed>>()?;
    let map = RegisterMap::new(message.version, shards, entries, addresses);
    map.map(Some).ok_or(Malformed("number of shards"))
}

fn entry(told: &admin::Entry) -> Result<Entry<Owner>, Malformed> {
    let plan = told.plan.as_ref().map(plan).transpose()?;
    let (at, spent) = (epoch(told.epoch)?, epoch(told.spent)?);
    Entry::restore(owner(told.owner.as_ref())?, at, plan, spent)
        .and_then(|entry| entry.restore_quarantine(told.quarantined))
        .ok_or(Malformed("entry of a shard"))
}

fn plan(told: &admin::Plan) -> Result<Plan<Owner>, Malformed> {
    Ok(Plan {
        to: owner(told.to.as_ref())?,
        epoch: epoch(told.epoch)?,
    })
}

fn owner(told: Option<&admin::Owner>) -> Result<Owner, Malformed> {
    let told = told.ok_or(Malformed("worker"))?;
    let worker = told
        .worker
        .parse()
        .map_err(|_| Malformed("worker's name"))?;
    let incarnation = Incarnation::new(told.incarnation).ok_or(Malformed("incarnation"))?;
    Ok(Owner {
        worker,
        incarnation,
    })
}

fn epoch(number: u64) -> Result<Epoch, Malformed> {
    Epoch::new(number).ok_or(Malformed("epoch"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const SHARDS: usize = 4;

    fn count() -> ShardCount {
        ShardCount::try_from(4).unwrap()
    }

    fn worker(number: u8) -> Owner {
        Owner {
            worker: format!("worker-{number}").parse().unwrap(),
            incarnation: Incarnation::new(u64::MAX - u64::from(number)).unwrap(),
        }
    }

    /// A shard after what has befallen it.
    fn after(changes: Vec<u8>) -> Entry<Owner> {
        let start = Entry::new(worker(0), Epoch::FIRST);
        changes.into_iter().fold(start, |entry, change| {
            let next = match change {
                0 => entry.quarantine(),
                1 => entry.fail_over(worker(1)),
                _ => entry.move_to(worker(change)),
            };
            next.unwrap_or(entry)
        })
    }

    fn map(shards: Vec<Vec<u8>>) -> RegisterMap {
        let addresses = BTreeMap::from([(worker(0), "h:1".to_owned())]);
        let entries = shards.into_iter().map(after).collect();
        RegisterMap::new(u64::MAX, count(), entries, addresses).unwrap()
    }

    proptest! {
        #[test]
        fn a_map_survives(shards in prop::collection::vec(prop::collection::vec(0u8..4, 0..5), SHARDS)) {
            let map = map(shards);
            prop_assert_eq!(known_map(&map_message(&map), count()), Ok(Some(map)));
        }
    }

    #[test]
    fn who_knows_none_says_so() {
        assert_eq!(known_map(&KnownMap::default(), count()), Ok(None));
    }

    #[test]
    fn what_no_register_writes_is_refused() {
        let told = map_message(&map(vec![Vec::new(); SHARDS]));
        let refused = |spoil: &dyn Fn(&mut KnownMap)| {
            let mut told = told.clone();
            spoil(&mut told);
            known_map(&told, count()).unwrap_err().0
        };
        assert_eq!(refused(&|map| map.entries.truncate(1)), "number of shards");
        assert_eq!(refused(&|map| map.entries[1].epoch = 0), "epoch");
        assert_eq!(refused(&|map| map.entries[1].epoch = 9), "entry of a shard");
        assert_eq!(refused(&|map| map.entries[1].owner = None), "worker");
        let nameless = |map: &mut KnownMap| map.places[0].owner = Some(admin::Owner::default());
        assert_eq!(refused(&nameless), "worker's name");
    }
}
