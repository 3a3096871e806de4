//! `/status` of who controls a cluster.

use hexagram_control::Overview;
use hexagram_core::{Entry, Owner, RegisterMap, ShardId};
use serde_json::{Value, json};

/// The map and what is known beside it.
pub(crate) fn page(
    role: &str,
    name: &str,
    cluster: &str,
    map: Option<&RegisterMap>,
    overview: &Overview,
) -> Value {
    json!({
        "role": role,
        "name": name,
        "cluster": cluster,
        "version": env!("CARGO_PKG_VERSION"),
        "map_version": map.map(RegisterMap::version),
        "waiting": overview.waiting,
        "shards": map.map(|map| shards(map, overview)).unwrap_or_default(),
        "workers": overview.workers,
        "lost": overview.lost,
        "imbalance": overview.imbalance,
    })
}

fn shards(map: &RegisterMap, overview: &Overview) -> Vec<Value> {
    let shard = |(shard, entry): (ShardId, &Entry<Owner>)| {
        json!({
            "shard": shard.get(),
            "owner": entry.owner().worker.as_str(),
            "epoch": entry.epoch().get(),
            "moving_to": entry.plan().map(|plan| plan.to.worker.as_str()),
            "quarantined": entry.is_quarantined(),
            "load": overview.loads.get(shard.index()),
        })
    };
    map.entries().map(shard).collect()
}
