//! What people get wrong: refused with a reason, or put right, and no client notices.

use std::time::Duration;

use anyhow::{Context, Result};
use hexagram_e2e::{Role, Scene, Shards, UNNOTICED, Verdict, finally, scenario};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{grown, refusal};

/// Longer than between two renewals of the lease, and than its length.
const MEANWHILE: Duration = Duration::from_secs(30);
/// Values that are wrong, and what the refusal names.
const WRONG: [(&str, &str); 6] = [
    ("worker.replica=3", "additional properties 'replica'"),
    ("edge.replicas=two", "'/edge/replicas'"),
    ("shards=63", "'/shards'"),
    (
        "valkey.enabled=true,store.url=redis://a:6379/0",
        "more than one store",
    ),
    ("edge.auth.kind=api-keys", "edge.auth.keysSecret.name"),
    ("edge.routing.header=x-client", "edge.trustedProxies"),
];

#[tokio::test]
async fn install_with_wrong_values_is_refused() {
    let bar = "each is refused with a reason that names the value";
    scenario("helm install with wrong values", bar, async |scene| {
        let chart = scene.setting.chart().display().to_string();
        let mut verdict = Verdict::default();
        for (wrong, reason) in WRONG {
            // Were it not refused, nothing would have to be removed again.
            let install = [
                "install",
                "refused",
                &chart,
                "--dry-run=server",
                "--set",
                wrong,
            ];
            let said = refusal(scene.kubectl.helm(&install).await, reason)?;
            verdict = verdict.shows(format!("`{wrong}` {said}"));
        }
        Ok(verdict)
    })
    .await;
}

#[tokio::test]
async fn operator_may_not_write_for_a_while() {
    let bar = format!("{UNNOTICED}; the operator's log says why");
    let name = "the operator's RoleBinding removed for 30 s";
    scenario(name, &bar, async |scene| {
        scene.installed().await?;
        let load = scene.load().await?;
        let binding = scene
            .kubectl
            .get(&["rolebinding", "hexagram-operator"])
            .await?;
        let line = finally(forbidden(scene), put_back(scene, binding)).await?;
        scene.rest().await?;
        Ok(Verdict::default()
            .shows(line.clone().unwrap_or_default())
            .requires(
                line.is_some(),
                "the operator's log does not say that it is forbidden",
            )
            .unnoticed(&load.end().await?))
    })
    .await;
}

/// What the operator said meanwhile of what it may not do.
async fn forbidden(scene: &Scene) -> Result<Option<String>> {
    let delete = ["delete", "rolebinding", "hexagram-operator"];
    scene.kubectl.run(&delete).await?;
    said_meanwhile(scene, "forbidden").await
}

#[tokio::test]
async fn kind_is_missing_for_a_while() {
    let bar = format!("{UNNOTICED}; the operator's log says the cure; no epoch goes back");
    let name = "the kind ShardMap removed for 30 s, and its object with it";
    scenario(name, &bar, async |scene| {
        scene.installed().await?;
        let (load, before) = (scene.load().await?, scene.rest().await?);
        let kind = scene
            .kubectl
            .get(&["crd", "shardmaps.hexagram.dev"])
            .await?;
        let line = finally(without_kind(scene), put_back(scene, kind)).await?;
        let after = scene.rest().await?;
        let verdict = Verdict::default().shows(line.clone().unwrap_or_default());
        let verdict = verdict.requires(line.is_some(), "the operator's log does not say the cure");
        Ok(grown(verdict, &after, &before).unnoticed(&load.end().await?))
    })
    .await;
}

/// What the operator said of the kind that was not there.
async fn without_kind(scene: &Scene) -> Result<Option<String>> {
    let delete = ["delete", "crd", "shardmaps.hexagram.dev"];
    scene.kubectl.run(&delete).await?;
    said_meanwhile(scene, "hexagram crd | kubectl apply").await
}

/// What the operator says with these words in a while from now.
async fn said_meanwhile(scene: &Scene, words: &str) -> Result<Option<String>> {
    let operator = scene.pod(Role::Operator).await?;
    sleep(MEANWHILE).await;
    let log = ["logs", &operator.name, "--since=40s"];
    let said = scene.kubectl.run(&log).await?;
    let line = said.lines().find(|line| line.contains(words));
    Ok(line.map(str::to_owned))
}

/// Makes an object again as it was.
async fn put_back(scene: &Scene, mut object: Value) -> Result<()> {
    let metadata = object["metadata"].as_object_mut();
    let metadata = metadata.context("it has metadata")?;
    for member in [
        "resourceVersion",
        "uid",
        "creationTimestamp",
        "managedFields",
    ] {
        metadata.remove(member);
    }
    let file = scene.setting.folder.join("put-back.json");
    tokio::fs::write(&file, object.to_string()).await?;
    let file = format!("--filename={}", file.display());
    scene.kubectl.run(&["create", &file]).await.map(|_| ())
}

#[tokio::test]
async fn shard_count_is_changed() {
    let bar = "refused with the reason, by the API server and by helm upgrade";
    scenario("shard count changed", bar, async |scene| {
        scene.installed().await?;
        let spec = json!({"spec": {"shards": 128}}).to_string();
        let patch = [
            "patch",
            "shardmaps.hexagram.dev",
            "hexagram",
            "--type=merge",
            "--patch",
            &spec,
        ];
        let patched = scene.kubectl.run(&patch).await;
        let upgraded = scene.upgrade_with(&["shards=128"]).await;
        scene.rest().await?;
        Ok(Verdict::default()
            .shows(refusal(
                patched,
                "the number of shards is fixed for a cluster's life",
            )?)
            .shows(refusal(upgraded, "shards is fixed for the cluster's life")?))
    })
    .await;
}

#[tokio::test]
async fn status_is_edited_by_hand() {
    // A later epoch is another ownership, whoever wrote it.
    let bar = "refused or put right, no epoch goes back; only sessions of the shard whose epoch \
               was raised end";
    scenario("ShardMap status edited by hand", bar, async |scene| {
        scene.installed().await?;
        let load = scene.load().await?;
        let mut verdict = Verdict::default();
        for what in [Edit::Sink, Edit::Raise, Edit::Give] {
            verdict = edited(scene, what, verdict).await?;
        }
        Ok(verdict.of_one_shard(&load.end().await?))
    })
    .await;
}

/// What is done to the first shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edit {
    /// An epoch from before.
    Sink,
    /// A later epoch than was ever given.
    Raise,
    /// Another owner in the same epoch.
    Give,
}

impl Edit {
    /// As a JSON patch.
    fn patch(self, shards: &Shards) -> Result<Value> {
        let epoch = shards.epochs().first().copied().context("no shard")?;
        let set = |member: &str, value: Value| {
            let path = format!("/status/shards/0/{member}");
            json!({"op": "replace", "path": path, "value": value})
        };
        Ok(match self {
            Self::Sink => json!([set("epoch", json!(epoch - 1))]),
            Self::Raise => json!([
                set("epoch", json!(epoch + 50)),
                set("spent", json!(epoch + 50))
            ]),
            Self::Give => json!([set("owner", json!(other_owner(shards)?))]),
        })
    }
}

/// Somebody else than who owns the first shard.
fn other_owner(shards: &Shards) -> Result<String> {
    let owners = shards.owners();
    let first = owners.get(&0).context("there is no shard 0")?;
    let other = owners.values().find(|owner| *owner != first);
    other
        .map(|owner| (*owner).to_owned())
        .context("one worker owns all")
}

async fn edited(scene: &Scene, what: Edit, verdict: Verdict) -> Result<Verdict> {
    let before = scene.rest().await?;
    let patch = what.patch(&before)?.to_string();
    let patch = [
        "patch",
        "shardmaps.hexagram.dev",
        "hexagram",
        "--subresource=status",
        "--type=json",
        "--patch",
        &patch,
    ];
    let taken = scene.kubectl.run(&patch).await;
    let told = if taken.is_ok() {
        "put right"
    } else {
        "refused"
    };
    if taken.is_ok() {
        scene.rewritten(before.version).await?;
    }
    let after = scene.rest().await?;
    let owned = after.owners().get(&0) == before.owners().get(&0);
    let verdict = verdict
        .shows(format!("{what:?}: {told}"))
        .requires(
            what != Edit::Sink || told == "refused",
            "an epoch may be lowered by hand",
        )
        .requires(owned, format!("{what:?}: shard 0 has another owner"));
    Ok(grown(verdict, &after, &before))
}
