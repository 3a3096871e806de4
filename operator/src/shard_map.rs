//! The kind `ShardMap`: who owns which shard, as the API server keeps it.

#![expect(
    unreachable_pub,
    reason = "the derive repeats each type inside a function"
)]
#![expect(
    clippy::duplicated_attributes,
    reason = "columns have their types in common"
)]

use kube::{CustomResource, CustomResourceExt, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::upstream::Upstream;

/// What an install decides once.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "hexagram.dev",
    version = "v1alpha1",
    kind = "ShardMap",
    plural = "shardmaps",
    shortname = "hexmap",
    namespaced,
    status = "ShardMapStatus",
    derive = "PartialEq",
    doc = "Which worker owns which shard of a Hexagram cluster. The operator writes it; edges and workers follow it.",
    annotation("helm.sh/resource-policy", "keep"),
    printcolumn(name = "Shards", type_ = "integer", json_path = ".spec.shards"),
    printcolumn(
        name = "Workers",
        type_ = "integer",
        json_path = ".status.summary.workers"
    ),
    printcolumn(
        name = "Moving",
        type_ = "integer",
        json_path = ".status.summary.moving"
    ),
    printcolumn(
        name = "Quarantined",
        type_ = "integer",
        json_path = ".status.summary.quarantined"
    ),
    printcolumn(
        name = "Version",
        type_ = "integer",
        json_path = ".status.version",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ShardMapSpec {
    /// The cluster's name, the same as --cluster of its processes.
    #[x_kube(validation = Rule::new("self == oldSelf").message("the cluster's name is fixed for its life"))]
    #[schemars(length(min = 1, max = 253))]
    pub cluster: String,
    /// How many shards there are: a power of two up to 1024.
    #[x_kube(validation = Rule::new("self == oldSelf").message("the number of shards is fixed for a cluster's life: every client's shard follows from it"))]
    #[schemars(range(min = 1, max = 1024))]
    pub shards: u16,
}

/// Who owns what now. Epochs never decrease.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.version - oldSelf.version < 1000000000000").message("versions go up by single steps: one so far ahead would leave none for later"))]
#[serde(rename_all = "camelCase")]
pub struct ShardMapStatus {
    /// A later map has a greater one.
    #[schemars(range(min = 0))]
    pub version: i64,
    /// Every shard, by its number.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["shard".into()]))]
    #[schemars(length(max = 1024))]
    #[serde(default)]
    pub shards: Vec<ShardEntry>,
    /// How the workers are reached.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 2048))]
    #[serde(default)]
    pub workers: Vec<WorkerEntry>,
    /// For people.
    #[serde(default)]
    pub summary: Summary,
}

/// One shard.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.epoch >= oldSelf.epoch && self.spent >= oldSelf.spent").message("an epoch never decreases: an old owner would be let back in"))]
#[x_kube(validation = Rule::new("self.epoch <= self.spent").message("spent is the highest epoch ever given: no epoch is above it"))]
#[x_kube(validation = Rule::new("self.epoch > oldSelf.epoch || (self.owner == oldSelf.owner && has(self.quarantined) == has(oldSelf.quarantined))").message("an epoch has one owner: another one needs a later epoch"))]
#[x_kube(validation = Rule::new("self.spent - oldSelf.spent < 1000000000000").message("epochs go up by single steps: one so far ahead would leave none for later"))]
#[serde(rename_all = "camelCase")]
pub struct ShardEntry {
    /// Its number.
    #[schemars(range(min = 0, max = 1023))]
    pub shard: u16,
    /// Who may serve it: a worker's name and its life, `NAME/INCARNATION`.
    #[schemars(length(max = 300))]
    pub owner: String,
    /// The epoch in which the owner may.
    #[schemars(range(min = 1))]
    pub epoch: i64,
    /// The highest epoch ever given or reserved.
    #[schemars(range(min = 1))]
    pub spent: i64,
    /// The move under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<MoveEntry>,
    /// Nobody is to serve it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quarantined: bool,
}

/// A planned move.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MoveEntry {
    /// The next owner, as `NAME/INCARNATION`.
    #[schemars(length(max = 300))]
    pub to: String,
    /// The epoch that is reserved for it.
    #[schemars(range(min = 1))]
    pub epoch: i64,
}

/// A worker in one life.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerEntry {
    /// `NAME/INCARNATION`.
    #[schemars(length(max = 300))]
    pub name: String,
    /// `HOST:PORT` of its links.
    #[schemars(length(max = 300))]
    pub address: String,
}

// One that says otherwise than this operator counts is written anew: where a number is added
// here, a kind of an older release, which does not keep it, must not look like a hand's work.
/// The map in numbers.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Workers that own shards.
    #[schemars(range(min = 0))]
    pub workers: u32,
    /// Shards that are moving.
    #[schemars(range(min = 0))]
    pub moving: u32,
    /// Shards that nobody is to serve.
    #[schemars(range(min = 0))]
    pub quarantined: u32,
}

/// The definitions of our kinds, as YAML documents.
///
/// # Errors
/// When one cannot be written, which is a fault of this program.
pub fn crds() -> Result<String, serde_saphyr::ser::Error> {
    let kinds = [ShardMap::crd(), Upstream::crd()];
    let documents = kinds.iter().map(serde_saphyr::to_string);
    let documents = documents.collect::<Result<Vec<_>, _>>()?.join("---\n");
    Ok(format!("# Written by `hexagram crd`.\n---\n{documents}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_server_guards_where_an_upstream_is_and_its_prefix() {
        let text = crds().unwrap();
        for guard in [
            "has(self.url) != has(self.service)",
            "exactly one of url and service",
            "maximum: 65535",
            "^[a-z][a-z0-9-]*$",
        ] {
            assert!(text.contains(guard), "{guard}: {text}");
        }
    }

    #[test]
    fn the_api_server_guards_epochs_and_shard_count() {
        let text = crds().unwrap();
        for guard in [
            "self.epoch >= oldSelf.epoch && self.spent >= oldSelf.spent",
            "an epoch has one owner",
            "the number of shards is fixed",
            "x-kubernetes-list-type: map",
            "helm.sh/resource-policy: keep",
        ] {
            assert!(text.contains(guard), "{guard}: {text}");
        }
    }
}
