//! Planned changes.

use std::time::Duration;

use anyhow::{Context, Result};
use hexagram_e2e::{Figures, RESUMABLE, Role, Scene, UNNOTICED, Verdict, finally, scenario};
use tokio::time::Instant;

use super::is_apart;

/// Steps of a rotation wait for nothing but who reports.
const PROMPT: &str = "keys.settleSeconds=1";
/// The release before, as far as links can tell: all speak an older version of it.
const BEFORE: [&str; 2] = [
    "edge.extraArgs={--link-version=2}",
    "worker.extraArgs={--link-version=2}",
];

#[tokio::test]
async fn node_is_drained() {
    let name = "kubectl drain of a node with PDBs";
    scenario(name, RESUMABLE, async |scene| {
        if !is_apart(scene).await? {
            return Ok(Verdict::not_run("pods are all on one node here"));
        }
        let node = scene.pod(Role::Worker).await?.node;
        let figures = finally(drain(scene, &node), uncordon(scene, &node)).await?;
        scene.spread().await?;
        Ok(Verdict::default().resumable(&figures))
    })
    .await;
}

async fn drain(scene: &Scene, node: &str) -> Result<Figures> {
    let load = scene.load().await?;
    let drain = [
        "drain",
        node,
        "--ignore-daemonsets",
        "--delete-emptydir-data",
    ];
    scene.kubectl.run_to_end(&drain).await?;
    scene.rest().await?;
    load.end().await
}

async fn uncordon(scene: &Scene, node: &str) -> Result<()> {
    scene.kubectl.run(&["uncordon", node]).await.map(|_| ())
}

#[tokio::test]
async fn operator_is_restarted_by_a_rollout() {
    scenario(
        "rollout restart of the operator",
        UNNOTICED,
        async |scene| {
            scene.installed().await?;
            let load = scene.load().await?;
            scene.kubectl.restart(Role::Operator).await?;
            scene.rest().await?;
            Ok(Verdict::default().unnoticed(&load.end().await?))
        },
    )
    .await;
}

#[tokio::test]
async fn rotates_keys_while_clients_talk() {
    let bar = format!(
        "{UNNOTICED}; the new key opens everywhere, then it mints; the old one goes when it left \
         long ago"
    );
    scenario("key rotation", &bar, async |scene| {
        scene.installed().await?;
        let rotated = finally(rotated(scene), scene.upgrade_with(&[])).await?;
        scene.rest().await?;
        Ok(Verdict::default()
            .shows(format!(
                "the new key opened everywhere after {:.0} s and minted after {:.0} s",
                rotated.opens.as_secs_f64(),
                rotated.mints.as_secs_f64()
            ))
            .unnoticed(&rotated.until_minted)
            .shows(format!(
                "the old one was gone {:.0} s after its time; meanwhile",
                rotated.drops.as_secs_f64()
            ))
            .unnoticed(&rotated.until_dropped))
    })
    .await;
}

/// How long the steps of a rotation took, and what the load saw meanwhile.
struct Rotated {
    opens: Duration,
    mints: Duration,
    until_minted: Figures,
    drops: Duration,
    until_dropped: Figures,
}

/// Fresh clients are served with the new key as well. Those of the drop have no ids of the
/// old one: such are older by then than an id may be.
async fn rotated(scene: &Scene) -> Result<Rotated> {
    scene.upgrade_with(&[PROMPT]).await?;
    let before = scene.keys().await?;
    let load = scene.load().await?;
    let start = Instant::now();
    scene.ask_for_a_key().await?;
    let key = scene.another_key_opens(&before).await?;
    let opens = start.elapsed();
    scene.key_mints(&key).await?;
    let mints = start.elapsed();
    scene.full_service(Instant::now()).await?;
    let until_minted = load.end().await?;
    let load = scene.load().await?;
    let start = Instant::now();
    scene.keys_left_long_ago(&before).await?;
    scene.keys_are_dropped(&before).await?;
    Ok(Rotated {
        opens,
        mints,
        until_minted,
        drops: start.elapsed(),
        until_dropped: load.end().await?,
    })
}

#[tokio::test]
async fn release_is_upgraded_and_rolled_back() {
    let bar = format!("{RESUMABLE}; each shard moves at most once a rollout");
    let name = "helm upgrade to another tag and link version, helm rollback";
    scenario(name, &bar, async |scene| {
        let Some(next) = scene.setting.next_image.clone() else {
            return Ok(Verdict::not_run("there is one image only"));
        };
        scene.installed().await?;
        let there_and_back = upgraded_and_rolled_back(scene, &next);
        let verdict = finally(there_and_back, scene.upgrade_with(&[])).await?;
        scene.rest().await?;
        Ok(verdict)
    })
    .await;
}

async fn upgraded_and_rolled_back(scene: &Scene, next: &str) -> Result<Verdict> {
    let (_, tag) = next.rsplit_once(':').context("the next image has a tag")?;
    scene.upgrade_with(&BEFORE).await?;
    let old = scene.rest().await?;
    let load = scene.load().await?;
    scene.upgrade_with(&[&format!("image.tag={tag}")]).await?;
    let new = scene.rest().await?;
    scene.roll_back().await?;
    let again = scene.rest().await?;
    let verdict = moved_once(Verdict::default(), "up", new.changes_since(&old));
    let verdict = moved_once(verdict, "back", again.changes_since(&new));
    Ok(verdict.resumable(&load.end().await?))
}

fn moved_once(verdict: Verdict, way: &str, (changed, most): (usize, u64)) -> Verdict {
    verdict
        .shows(format!(
            "{way}: {changed} shards moved, at most {most} times"
        ))
        .requires(
            most <= 1,
            format!("{way}: a shard went through {most} epochs"),
        )
}
