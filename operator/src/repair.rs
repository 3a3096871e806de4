//! What to do about a shard map that is another than was written here.

use hexagram_control::{FormError, goes_back};
use hexagram_core::{Entry, Owner, RegisterMap};

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// Nothing: it is the known one, or there is none.
    Known,
    /// Another operator wrote it: it is in force.
    Take(RegisterMap),
    /// It says what must not be: this is to be written instead. No epoch goes back.
    Restore(RegisterMap),
    /// It says nothing, and nothing else is known.
    Unreadable(FormError),
}

/// What was put right about the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mend {
    /// It said what nobody had written who may.
    Repaired,
    /// It was gone.
    Remade,
}

/// Judges what was `seen`, where `known` was in force.
pub(crate) fn judge(
    known: Option<&RegisterMap>,
    seen: Result<Option<RegisterMap>, FormError>,
) -> Judgement {
    match (known, seen) {
        (None, Ok(None)) => Judgement::Known,
        (None, Ok(Some(seen))) => Judgement::Take(seen),
        (None, Err(error)) => Judgement::Unreadable(error),
        (Some(known), Ok(Some(seen))) if *known == seen => Judgement::Known,
        (Some(known), Ok(Some(seen))) if is_later(known, &seen) => Judgement::Take(seen),
        (Some(known), Ok(Some(seen))) => Judgement::Restore(merged(known, &seen)),
        (Some(known), _) => Judgement::Restore(known.renewed()),
    }
}

fn is_later(known: &RegisterMap, seen: &RegisterMap) -> bool {
    seen.version() > known.version() && goes_back(known, seen).is_none()
}

/// What is known, above all that was seen.
fn merged(known: &RegisterMap, seen: &RegisterMap) -> RegisterMap {
    let mut version = known.version().max(seen.version());
    let pairs = known.entries().zip(seen.entries());
    let entries = pairs.map(|((_, known), (_, seen))| entry(known, seen));
    let entries: Vec<_> = entries.collect();
    let addresses = known.addresses().clone();
    version += 1;
    RegisterMap::new(version, known.count(), entries, addresses).unwrap_or_else(|| known.clone())
}

/// A later epoch may be in use already; of the same one only its known owner can be. That
/// one gets a later epoch then: the object's rules give an epoch one owner.
fn entry(known: &Entry<Owner>, seen: &Entry<Owner>) -> Entry<Owner> {
    if seen.epoch() > known.epoch() {
        return seen.above(known.spent());
    }
    let known = known.above(seen.spent());
    let same = seen.owner() == known.owner() && seen.is_quarantined() == known.is_quarantined();
    match seen.epoch() < known.epoch() || same {
        true => known,
        false => raised(&known).unwrap_or(known),
    }
}

fn raised(entry: &Entry<Owner>) -> Option<Entry<Owner>> {
    match entry.is_quarantined() {
        true => entry.quarantine().ok(),
        false => entry.fail_over(entry.owner().clone()).ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hexagram_core::{Epoch, Incarnation, ShardCount};

    use super::*;

    fn owner(number: u64) -> Owner {
        Owner {
            worker: format!("w-{number}").parse().unwrap(),
            incarnation: Incarnation::new(number).unwrap(),
        }
    }

    fn entry_of(number: u64, epoch: u64) -> Entry<Owner> {
        Entry::new(owner(number), Epoch::new(epoch).unwrap())
    }

    fn map(version: u64, entries: [Entry<Owner>; 2]) -> RegisterMap {
        let count = ShardCount::try_from(2).unwrap();
        RegisterMap::new(version, count, entries.into(), BTreeMap::new()).unwrap()
    }

    #[test]
    fn what_another_operator_wrote_is_in_force() {
        let known = map(4, [entry_of(1, 5), entry_of(2, 5)]);
        let next = map(5, [entry_of(1, 5), entry_of(1, 6)]);
        assert_eq!(
            judge(Some(&known), Ok(Some(next.clone()))),
            Judgement::Take(next.clone())
        );
        assert_eq!(judge(None, Ok(Some(next.clone()))), Judgement::Take(next));
        assert_eq!(
            judge(Some(&known), Ok(Some(known.clone()))),
            Judgement::Known
        );
    }

    #[test]
    fn an_edited_owner_is_put_back_and_a_later_epoch_kept() {
        let known = map(4, [entry_of(1, 5), entry_of(2, 5)]);
        let edited = map(4, [entry_of(3, 5), entry_of(2, 9)]);
        let Judgement::Restore(restored) = judge(Some(&known), Ok(Some(edited))) else {
            panic!("it is put right");
        };
        assert_eq!(restored.version(), 5);
        let owners: Vec<_> = restored
            .entries()
            .map(|(_, entry)| entry.owner().clone())
            .collect();
        assert_eq!(owners, [owner(1), owner(2)]);
        let epochs: Vec<_> = restored
            .entries()
            .map(|(_, entry)| entry.epoch().get())
            .collect();
        assert_eq!(
            epochs,
            [6, 9],
            "an epoch has one owner, a later one is kept"
        );
    }

    #[test]
    fn what_is_gone_or_damaged_is_written_again() {
        let known = map(4, [entry_of(1, 5), entry_of(2, 5)]);
        let damaged = Err(FormError::Damaged("shard 1".to_owned()));
        for seen in [Ok(None), damaged.clone()] {
            let Judgement::Restore(restored) = judge(Some(&known), seen) else {
                panic!("it is put right");
            };
            assert_eq!(restored.version(), 5);
            assert!(goes_back(&known, &restored).is_none());
        }
        assert!(matches!(judge(None, damaged), Judgement::Unreadable(_)));
        assert_eq!(judge(None, Ok(None)), Judgement::Known);
    }
}
