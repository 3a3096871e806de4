//! What a worker's last life owned, for its next one.

use std::collections::BTreeMap;

use hexagram_core::{Entry, Owner, RegisterMap, ShardId};

/// The map in which `heir`, reached at `address`, owns what earlier lives of the same worker
/// did; `None` where that is nothing.
///
/// Only for workers of whose name there is one process at a time, as of a pod: the earlier
/// lives must be over. Each shard gets an epoch above all that were given or reserved (I4). A
/// shard of which another worker has `told` an epoch that the register does not know stays as it
/// is: the register was put back from a backup, and somebody else may serve that shard by now,
/// who must not be stopped (I9). What moves or is in quarantine stays as well. All that is left
/// to the controller, which asks who serves what.
#[must_use]
pub fn inherit(
    map: &RegisterMap,
    told: &[RegisterMap],
    heir: &Owner,
    address: &str,
) -> Option<RegisterMap> {
    let told = told.iter().filter(|told| told.count() == map.count());
    let told: Vec<_> = told.collect();
    let mut inherits = false;
    let entries = map.entries().map(|(shard, entry)| {
        let is_known = !told.iter().any(|told| knows_more(told, shard, entry));
        let inherited = inherited(entry, heir).filter(|_| is_known);
        inherits |= inherited.is_some();
        inherited.unwrap_or_else(|| entry.clone())
    });
    let entries: Vec<_> = entries.collect();
    let addresses = addresses(map.addresses(), &entries, heir, address);
    let next = RegisterMap::new(map.version() + 1, map.count(), entries, addresses);
    next.filter(|_| inherits)
}

/// Whether whoever told this knows epochs of `shard` above those that `entry` was ever given.
fn knows_more(told: &RegisterMap, shard: ShardId, entry: &Entry<Owner>) -> bool {
    told.entry(shard).spent() > entry.spent()
}

fn inherited(entry: &Entry<Owner>, heir: &Owner) -> Option<Entry<Owner>> {
    let is_settled = entry.plan().is_none() && !entry.is_quarantined();
    let is_due = is_settled && is_earlier(entry.owner(), heir);
    is_due.then(|| entry.fail_over(heir.clone()).ok())?
}

/// Without those of earlier lives that nothing names any more.
fn addresses(
    known: &BTreeMap<Owner, String>,
    entries: &[Entry<Owner>],
    heir: &Owner,
    address: &str,
) -> BTreeMap<Owner, String> {
    let is_named = |owner: &Owner| entries.iter().any(|entry| names(entry, owner));
    let mut addresses = known.clone();
    addresses.retain(|owner, _| !is_earlier(owner, heir) || is_named(owner));
    addresses.insert(heir.clone(), address.to_owned());
    addresses
}

fn is_earlier(owner: &Owner, heir: &Owner) -> bool {
    owner.worker == heir.worker && owner != heir
}

fn names(entry: &Entry<Owner>, owner: &Owner) -> bool {
    entry.owner() == owner || entry.plan().is_some_and(|plan| plan.to == *owner)
}
