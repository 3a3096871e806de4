//! What a write of the register changed.

use hexagram_core::{Entry, Owner, RegisterMap};

use super::stage::Here;
use crate::history::{Change, Step};

/// Tells every shard's change.
pub(super) fn tell(here: &Here, before: Option<&RegisterMap>, after: &RegisterMap) {
    for (shard, entry) in after.entries() {
        let old = before.map(|map| map.entry(shard));
        steps(shard.get(), old, entry)
            .into_iter()
            .for_each(|step| here.did(step));
    }
}

fn steps(shard: u16, old: Option<&Entry<Owner>>, new: &Entry<Owner>) -> Vec<Step> {
    let mut steps = Vec::new();
    let plan = old.and_then(|old| old.plan());
    let same_owner = old.is_some_and(|old| old.epoch() == new.epoch());
    if !same_owner {
        let by = match old {
            None => Change::First,
            // Only what was reserved before needs no new epoch.
            Some(old) if old.spent() == new.spent() => Change::Committed,
            Some(_) => Change::FailedOver,
        };
        steps.push(Step::Owner {
            shard,
            epoch: new.epoch().get(),
            owner: name(new.owner()),
            by,
        });
    }
    if let Some(plan) = plan.filter(|plan| same_owner && new.plan() != Some(plan)) {
        let epoch = plan.epoch.get();
        steps.push(Step::Aborted { shard, epoch });
    }
    if let Some(now) = new.plan().filter(|now| plan != Some(now)) {
        steps.push(Step::Planned {
            shard,
            epoch: now.epoch.get(),
            to: name(&now.to),
        });
    }
    steps
}

/// An owner as events name it: its incarnation is the number of its life.
fn name(owner: &Owner) -> String {
    format!("{}#{}", owner.worker, owner.incarnation.get())
}
