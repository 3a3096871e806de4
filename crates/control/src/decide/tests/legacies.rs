//! What the next life of a worker may take by itself.

use std::collections::BTreeMap;

use hexagram_core::{Entry, Owner, RegisterMap, ShardId};
use proptest::prelude::*;

use super::super::inherit;
use crate::register::follows;
use crate::testing::{count, epoch, map, owner};

const ADDRESS: &str = "10.0.0.7:7100";

/// Of three workers in up to three lives each.
fn owners() -> impl Strategy<Value = Owner> {
    (0u8..3, 1u64..4).prop_map(|(worker, life)| owner(worker, life))
}

fn entries() -> impl Strategy<Value = Entry<Owner>> {
    let about = (owners(), 1u64..9, owners(), 0u8..4);
    about.prop_map(|(owner, at, to, what)| {
        let entry = Entry::new(owner, epoch(at));
        match what {
            0 => entry.move_to(to).unwrap_or(entry),
            1 => entry.quarantine().unwrap(),
            2 => entry.above(epoch(at + 3)),
            _ => entry,
        }
    })
}

fn maps() -> impl Strategy<Value = RegisterMap> {
    let entries = prop::collection::vec(entries(), 8);
    entries.prop_map(|entries| {
        let owners = entries.iter().map(|entry| entry.owner().clone());
        let addresses = owners.map(|owner| (owner, "h:1".to_owned())).collect();
        RegisterMap::new(7, count(8), entries, addresses).unwrap()
    })
}

proptest! {
    #[test]
    fn an_heir_takes_what_its_last_lives_owned_and_nothing_else(
        map in maps(),
        told in prop::collection::vec(maps(), 0..4),
    ) {
        let heir = owner(0, 9);
        let is_due = |(shard, entry): (ShardId, &Entry<Owner>)| {
            let is_settled = entry.plan().is_none() && !entry.is_quarantined();
            let known = told.iter().map(|told| told.entry(shard).spent());
            let is_known = known.max() <= Some(entry.spent());
            is_settled && is_known && entry.owner().worker == heir.worker
        };
        let Some(next) = inherit(&map, &told, &heir, ADDRESS) else {
            prop_assert!(!map.entries().any(is_due));
            return Ok(());
        };
        prop_assert!(follows(&map, &next).is_ok());
        prop_assert_eq!(&next.addresses()[&heir], ADDRESS);
        for ((shard, before), (_, after)) in map.entries().zip(next.entries()) {
            if is_due((shard, before)) {
                prop_assert_eq!(after.owner(), &heir);
                prop_assert!(after.epoch() > before.spent());
            } else {
                prop_assert_eq!(after, before);
            }
        }
        prop_assert_eq!(inherit(&next, &told, &heir, ADDRESS), None, "once");
    }
}

/// The register was put back from a backup: shard 1 is another worker's by now.
#[test]
fn what_others_know_more_of_stays_whose_it_is() {
    let (last, heir) = (owner(0, 1), owner(0, 2));
    let shard = |number| count(2).shard(number).unwrap();
    let register = map(1, vec![Entry::new(last.clone(), epoch(3)); 2]);
    let now = vec![
        Entry::new(last, epoch(3)),
        Entry::new(owner(1, 1), epoch(4)),
    ];
    let told = [map(9, now)];
    let next = inherit(&register, &told, &heir, ADDRESS).unwrap();
    assert_eq!(next.entry(shard(0)).owner(), &heir);
    assert_eq!(next.entry(shard(1)), register.entry(shard(1)));
}

#[test]
fn an_heir_is_known_by_its_address_and_its_last_life_no_more() {
    let (last, heir, other) = (owner(0, 1), owner(0, 2), owner(1, 1));
    let entries = vec![
        Entry::new(last.clone(), epoch(3)),
        Entry::new(other.clone(), epoch(1)),
    ];
    let known = [(last, "h:1".to_owned()), (other.clone(), "h:2".to_owned())];
    let before = map(1, entries).with_addresses(BTreeMap::from(known));
    let after = inherit(&before, &[], &heir, ADDRESS).unwrap();
    let expected = [(heir, ADDRESS.to_owned()), (other, "h:2".to_owned())];
    assert_eq!(*after.addresses(), BTreeMap::from(expected));
}
