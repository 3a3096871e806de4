//! What a write of the register changes, told as steps of the protocol.

use hexagram_core::{Entry, Owner, RegisterMap, ShardId};
use hexagram_proto::STEPS;
use tracing::Level;

/// Tells every shard's change, before anybody can act on it.
pub(super) fn tell(before: Option<&RegisterMap>, after: &RegisterMap) {
    if !tracing::enabled!(target: STEPS, Level::TRACE) {
        return;
    }
    for (shard, entry) in after.entries() {
        tell_one(shard, before.map(|map| map.entry(shard)), entry);
    }
}

fn tell_one(shard: ShardId, old: Option<&Entry<Owner>>, new: &Entry<Owner>) {
    let shard = shard.get();
    let say = |step: &str, epoch: u64, owner: &str| {
        tracing::trace!(target: STEPS, step, shard, epoch, owner);
    };
    let plan = old.and_then(|old| old.plan());
    let same_owner = old.is_some_and(|old| old.epoch() == new.epoch());
    if !same_owner {
        say(became(old, new), new.epoch().get(), &name(new.owner()));
    }
    if let Some(plan) = plan.filter(|plan| same_owner && new.plan() != Some(plan)) {
        say("aborted", plan.epoch.get(), "");
    }
    if let Some(now) = new.plan().filter(|now| plan != Some(now)) {
        say("planned", now.epoch.get(), &name(&now.to));
    }
}

/// How the new owner became one.
fn became(old: Option<&Entry<Owner>>, new: &Entry<Owner>) -> &'static str {
    match old {
        None => "first",
        // Only what was reserved before needs no new epoch.
        Some(old) if old.spent() == new.spent() => "committed",
        Some(_) => "failed-over",
    }
}

fn name(owner: &Owner) -> String {
    format!("{}#{}", owner.worker, owner.incarnation.get())
}
