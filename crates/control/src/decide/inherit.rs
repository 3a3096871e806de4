//! What a worker's last life owned, for its next one.

use std::collections::BTreeMap;

use hexagram_core::{Entry, Owner, RegisterMap, ShardId};

/// The map in which `heir`, reached at `address`, owns what earlier lives of the same worker
/// did; `None` where that is nothing.
///
/// Only for workers of whose name there is one process at a time, as of a pod: the earlier
/// lives must be over. Each shard gets an epoch above all that were given or reserved, as the
/// register says and as other workers have `told` what they know (I4): a register that was put
/// back from a backup knows less. What moves or is in quarantine is left to the controller,
/// which knows more.
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
        let inherited = inherited(&above(entry, shard, &told), heir);
        inherits |= inherited.is_some();
        inherited.unwrap_or_else(|| entry.clone())
    });
    let entries: Vec<_> = entries.collect();
    let addresses = addresses(map.addresses(), &entries, heir, address);
    let next = RegisterMap::new(map.version() + 1, map.count(), entries, addresses);
    next.filter(|_| inherits)
}

/// `entry`, above every epoch of `shard` that anybody told.
fn above(entry: &Entry<Owner>, shard: ShardId, told: &[&RegisterMap]) -> Entry<Owner> {
    let known = told.iter().map(|map| map.entry(shard).spent());
    let known = known.max();
    known.map_or_else(|| entry.clone(), |known| entry.above(known))
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
