//! What a register takes, what it refuses, and what its file keeps.

use std::sync::Arc;

use hexagram_core::{Entry, Owner, RegisterMap};
use proptest::prelude::*;

use super::{MemoryRegister, Register, RegisterError, follows};
use crate::form::{FormError, MapForm};
use crate::testing::{count, epoch, map, owner};

fn any_entry() -> impl Strategy<Value = Entry<Owner>> {
    let steps = prop::collection::vec((0..5_u8, 0..3_u8), 0..6);
    (0..3_u8, steps).prop_map(|(first, steps)| {
        let start = Entry::new(owner(first, 1), epoch(1));
        steps
            .into_iter()
            .fold(start, |entry, (step, worker)| stepped(&entry, step, worker))
    })
}

fn stepped(entry: &Entry<Owner>, step: u8, worker: u8) -> Entry<Owner> {
    let to = owner(worker, 1);
    let plan = entry.plan().map(|plan| (plan.to.clone(), plan.epoch));
    let next = match (step, plan) {
        (0, _) => entry.move_to(to),
        (1, Some((_, epoch))) => entry.abort(epoch),
        (2, Some((to, epoch))) => entry.commit(&to, epoch),
        (3, _) => entry.quarantine(),
        _ => entry.fail_over(to),
    };
    next.unwrap_or_else(|_| entry.clone())
}

proptest! {
    #[test]
    fn a_map_survives_its_form(version: u64, entries in prop::collection::vec(any_entry(), 4)) {
        let before = map(version, entries);
        let text = serde_json::to_string(&MapForm::of("c", &before)).unwrap();
        let form: MapForm = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(form.clone().open("c", count(4)), Ok(before));
        let other = form.clone().open("d", count(4));
        let refused = matches!(other, Err(FormError::Cluster { .. }));
        prop_assert!(refused);
        prop_assert_eq!(form.open("c", count(8)), Err(FormError::Shards { ours: count(8), theirs: 4 }));
    }

    #[test]
    fn what_an_entry_may_become_is_taken_and_its_way_back_refused(
        entry in any_entry(), step in 0..5_u8, worker in 0..3_u8,
    ) {
        let next = stepped(&entry, step, worker);
        let (old, new) = (map(1, vec![entry.clone()]), map(2, vec![next.clone()]));
        prop_assert!(follows(&old, &new).is_ok());
        let back = follows(&map(1, vec![next.clone()]), &map(2, vec![entry.clone()]));
        if next.epoch() > entry.epoch() || next.spent() > entry.spent() {
            let refused = matches!(back, Err(RegisterError::Backwards(_)));
            prop_assert!(refused);
        }
    }
}

fn simple(version: u64, at: u64) -> Arc<RegisterMap> {
    Arc::new(map(version, vec![Entry::new(owner(0, 1), epoch(at)); 4]))
}

#[tokio::test]
async fn a_lost_race_changes_nothing() {
    let register = MemoryRegister::default();
    let mut maps = register.watch();
    register.compare_and_swap(simple(5, 1)).await.unwrap();
    for version in [4, 5, 7] {
        let lost = register.compare_and_swap(simple(version, 2)).await;
        assert!(matches!(
            lost,
            Err(RegisterError::Conflict { stored: 5, .. })
        ));
    }
    let other = Arc::new(map(6, vec![Entry::new(owner(0, 1), epoch(2)); 2]));
    let refused = register.compare_and_swap(other).await;
    assert!(matches!(refused, Err(RegisterError::Shards { .. })));
    assert_eq!(register.read().await.unwrap(), Some(simple(5, 1)));
    register.compare_and_swap(simple(6, 2)).await.unwrap();
    assert_eq!(*maps.borrow_and_update(), Some(simple(6, 2)));
}

#[tokio::test]
async fn a_file_keeps_the_map_and_tells_what_is_wrong_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.json");
    let open = |cluster: &'static str| MemoryRegister::open(file.clone(), cluster, count(4));
    let register = open("c").await.unwrap();
    assert_eq!(register.read().await.unwrap(), None);
    register.compare_and_swap(simple(1, 3)).await.unwrap();
    let again = open("c").await.unwrap();
    assert_eq!(again.read().await.unwrap(), Some(simple(1, 3)));
    let other = open("d").await.unwrap_err().to_string();
    assert!(other.contains("--cluster"), "{other}");
    std::fs::write(&file, "{").unwrap();
    let damaged = open("c").await.unwrap_err().to_string();
    assert!(damaged.contains("--state"), "{damaged}");
}
