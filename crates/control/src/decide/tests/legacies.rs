//! What the next life of a worker may take by itself.

use std::collections::BTreeMap;

use hexagram_core::{Entry, Owner, RegisterMap};
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
        let is_due = |entry: &Entry<Owner>| {
            let is_settled = entry.plan().is_none() && !entry.is_quarantined();
            is_settled && entry.owner().worker == heir.worker
        };
        let Some(next) = inherit(&map, &told, &heir, ADDRESS) else {
            prop_assert!(!map.entries().any(|(_, entry)| is_due(entry)));
            return Ok(());
        };
        prop_assert!(follows(&map, &next).is_ok());
        prop_assert_eq!(&next.addresses()[&heir], ADDRESS);
        for ((shard, before), (_, after)) in map.entries().zip(next.entries()) {
            if is_due(before) {
                prop_assert_eq!(after.owner(), &heir);
                prop_assert!(after.epoch() > before.spent());
                let known = told.iter().map(|told| told.entry(shard).spent());
                prop_assert!(known.max() < Some(after.epoch()));
            } else {
                prop_assert_eq!(after, before);
            }
        }
        prop_assert_eq!(inherit(&next, &told, &heir, ADDRESS), None, "once");
    }
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
