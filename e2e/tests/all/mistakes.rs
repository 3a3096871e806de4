//! What people get wrong: refused with a reason, or put right, and no client notices.

use std::time::Duration;

use anyhow::{Context, Result};
use hexagram_e2e::{Role, Scene, Shards, UNNOTICED, Verdict, finally, scenario};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{grown, refusal};

/// Longer than between two renewals of the lease, and than its length.
const MEANWHILE: Duration = Duration::from_secs(30);
/// The kinds that other releases share.
const KINDS: &str = "shardmaps.hexagram.dev,upstreams.hexagram.dev";
/// Why a kind is not removed.
const SHARED: &str = "other namespaces here have objects of the kinds";
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
        without_rights(scene, &[Role::Operator]).await
    })
    .await;
}

#[tokio::test]
async fn edges_and_workers_may_not_read_for_a_while() {
    let bar = format!("{UNNOTICED}; each of their logs says why");
    let name = "the RoleBindings of edges and workers removed for 30 s";
    scenario(name, &bar, async |scene| {
        without_rights(scene, &[Role::Edge, Role::Worker]).await
    })
    .await;
}

/// Takes from these roles all that they may do, for a while and under load.
async fn without_rights(scene: &Scene, roles: &[Role]) -> Result<Verdict> {
    scene.installed().await?;
    let load = scene.load().await?;
    let names: Vec<_> = roles
        .iter()
        .map(|role| format!("hexagram-{role}"))
        .collect();
    let mut bindings = Vec::new();
    for name in &names {
        bindings.push(scene.kubectl.get(&["rolebinding", name]).await?);
    }
    let verdict = finally(forbidden(scene, roles, &names), put_back(scene, bindings)).await?;
    scene.rest().await?;
    Ok(verdict.unnoticed(&load.end().await?))
}

/// What these roles said meanwhile of what they may not do.
async fn forbidden(scene: &Scene, roles: &[Role], bindings: &[String]) -> Result<Verdict> {
    let bindings = bindings.iter().map(String::as_str);
    let delete: Vec<_> = ["delete", "rolebinding"]
        .into_iter()
        .chain(bindings)
        .collect();
    scene.kubectl.run(&delete).await?;
    said_meanwhile(scene, roles, "forbidden").await
}

#[tokio::test]
async fn kind_is_missing_for_a_while() {
    let bar = format!("{UNNOTICED}; the operator's log says the cure; no epoch goes back");
    let name = "the kind ShardMap removed for 30 s, and its object with it";
    scenario(name, &bar, async |scene| {
        let kind = "shardmaps.hexagram.dev";
        match is_shared(scene).await? {
            true => Ok(Verdict::not_run(SHARED)),
            false => without_kind(scene, kind).await,
        }
    })
    .await;
}

#[tokio::test]
async fn kind_of_upstreams_is_missing_for_a_while() {
    let bar = format!(
        "{UNNOTICED}; the operator's log says the cure; an object that is made afterwards is served"
    );
    let name = "the kind Upstream removed for 30 s";
    scenario(name, &bar, async |scene| {
        let kind = "upstreams.hexagram.dev";
        if is_shared(scene).await? {
            return Ok(Verdict::not_run(SHARED));
        }
        let verdict = without_kind(scene, kind).await?;
        let answers = scene.upstream_is_seen("tour", "Answers");
        scene.with_upstream(answers).await?;
        scene.rest().await?;
        Ok(verdict.shows("an object made afterwards is served"))
    })
    .await;
}

/// Whether somebody else has objects of the kinds: they would go with theirs, and a release
/// without objects of the other kind misses that one all the same.
async fn is_shared(scene: &Scene) -> Result<bool> {
    scene.installed().await?;
    let list = scene.kubectl.get(&[KINDS, "--all-namespaces"]).await?;
    let items = list["items"].as_array().into_iter().flatten();
    let mut namespaces = items.map(|object| &object["metadata"]["namespace"]);
    Ok(namespaces.any(|namespace| *namespace != scene.setting.namespace))
}

/// Removes a kind for a while, under load.
async fn without_kind(scene: &Scene, kind: &str) -> Result<Verdict> {
    let (load, before) = (scene.load().await?, scene.rest().await?);
    let definition = scene.kubectl.get(&["crd", kind]).await?;
    let removed = async {
        scene.kubectl.run(&["delete", "crd", kind]).await?;
        said_meanwhile(scene, &[Role::Operator], "hexagram crd | kubectl apply").await
    };
    let verdict = finally(removed, put_back(scene, vec![definition])).await?;
    let definition = format!("crd/{kind}");
    let wait = [
        "wait",
        "--for=condition=Established",
        "--timeout=30s",
        &definition,
    ];
    scene.kubectl.run(&wait).await?;
    let after = scene.rest().await?;
    Ok(grown(verdict, &after, &before).unnoticed(&load.end().await?))
}

/// What each pod of these roles says with these words in a while from now.
async fn said_meanwhile(scene: &Scene, roles: &[Role], words: &str) -> Result<Verdict> {
    let mut pods = Vec::new();
    for role in roles {
        pods.extend(scene.serving(*role).await?);
    }
    sleep(MEANWHILE).await;
    let mut said = Vec::new();
    for pod in &pods {
        let log = scene
            .kubectl
            .run(&["logs", &pod.name, "--since=40s"])
            .await?;
        let line = log.lines().find(|line| line.contains(words));
        said.extend(line.map(str::to_owned));
    }
    let (some, all) = (said.len(), pods.len());
    Ok(Verdict::default()
        .shows(said.into_iter().next().unwrap_or_default())
        .shows(format!("{some} of {all} logs say so"))
        .requires(some == all, format!("not every log says `{words}`")))
}

/// Makes objects again as they were.
async fn put_back(scene: &Scene, mut objects: Vec<Value>) -> Result<()> {
    for object in &mut objects {
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
    }
    scene.hand_in("create", "put-back", &objects).await
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
        for what in [Edit::Sink, Edit::Raise, Edit::Give, Edit::Count] {
            verdict = edited(scene, what, verdict).await?;
        }
        Ok(verdict.of_one_shard(&load.end().await?))
    })
    .await;
}

/// What is done to the first shard, or to what is told of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edit {
    /// An epoch from before.
    Sink,
    /// A later epoch than was ever given.
    Raise,
    /// Another owner in the same epoch.
    Give,
    /// More workers in the column than there are.
    Count,
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
            Self::Count => json!([{
                "op": "replace", "path": "/status/summary/workers", "value": 40
            }]),
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
        .requires(owned, format!("{what:?}: shard 0 has another owner"))
        .requires(
            after.are_counted(),
            format!("{what:?}: the columns count other workers"),
        );
    Ok(grown(verdict, &after, &before))
}
