//! The short form of the cluster's tests: install, call, scale, roll out, kill. Each is
//! whole in itself and leaves the release as it was installed; they run one at a time, in
//! the order of their names, and only by `cargo xtask e2e`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use anyhow::Result;
use hexagram_e2e::{
    PROMPTLY, RESUMABLE, Role, SMALL, Scene, UNNOTICED, Verdict, is_light, is_to_repeat, scenario,
    tour,
};
use serde_json::json;

/// Kubernetes runs a new operator, and the dead one's lease runs out.
const LEASE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_first_call_is_answered_after_helm_install() {
    let bar = format!("first call answered in < 60 s; `helm test` passes; image < {SMALL} MB");
    scenario("install", &bar, async |scene| {
        let answered = scene.install().await?;
        let seconds = answered.as_secs_f64();
        scene.rest().await?;
        scene.test().await?;
        Ok(Verdict::default()
            .shows(format!("first answer {seconds:.1} s after `helm install`"))
            .shows("helm test passed")
            .requires(seconds < 60.0, "it took too long")
            .image(scene.image_size().await?))
    })
    .await;
}

#[tokio::test]
async fn clients_of_both_eras_are_served() {
    scenario(
        "official clients",
        "all connect, list and call",
        async |scene| {
            scene.installed().await?;
            let seen = tour(&scene.setting).await?;
            Ok(Verdict::default().shows(seen.join(", ")))
        },
    )
    .await;
}

#[tokio::test]
async fn edges_are_restarted_by_a_rollout() {
    scenario("rollout restart of edges", RESUMABLE, async |scene| {
        scene.installed().await?;
        let load = scene.load().await?;
        scene.kubectl.restart(Role::Edge).await?;
        scene.rest().await?;
        Ok(Verdict::default().resumable(&load.end().await?))
    })
    .await;
}

#[tokio::test]
async fn every_set_of_values_is_accepted_by_the_api_server() {
    let bar = "each object of each set of values passes strict validation";
    scenario("values of the chart", bar, async |scene| {
        scene.installed().await?;
        let accepted = scene.accepted().await?;
        Ok(Verdict::default()
            .shows(format!(
                "{} objects of {} sets accepted",
                accepted.objects, accepted.sets
            ))
            .shows(format!(
                "{} left out: the cluster does not know their kind",
                accepted.left_out
            )))
    })
    .await;
}

#[tokio::test]
async fn what_is_fixed_for_life_stays_as_it_was_installed() {
    let bar = "chart and API server refuse them, with the reason";
    let name = "another number of shards, another cluster name";
    scenario(name, bar, async |scene| {
        scene.installed().await?;
        let mut verdict = Verdict::default();
        for (field, other) in [("shards", json!(128)), ("cluster", json!("other"))] {
            for refusal in scene.refusals(field, &other).await? {
                let why = format!("{field} is refused for another reason: {refusal}");
                verdict = verdict.requires(refusal.contains("fixed"), why);
            }
        }
        Ok(verdict)
    })
    .await;
}

#[tokio::test]
async fn operator_is_killed_and_replaced() {
    let bar = format!("{UNNOTICED}; another leads in < 60 s");
    scenario("operator deleted with --force", &bar, async |scene| {
        scene.installed().await?;
        let load = scene.load().await?;
        let operator = scene.pod(Role::Operator).await?;
        scene.kubectl.delete_now(&operator).await?;
        let led = scene.next_leader(&operator, LEASE).await?;
        scene.rest().await?;
        Ok(Verdict::default()
            .shows(format!("another led after {:.1} s", led.as_secs_f64()))
            .unnoticed(&load.end().await?))
    })
    .await;
}

#[tokio::test]
async fn worker_pod_is_deleted_by_force() {
    scenario("worker pod deleted with --force", PROMPTLY, async |scene| {
        lose_workers(scene, async |scene| {
            let worker = scene.pod(Role::Worker).await?;
            scene.delete(&worker).await
        })
        .await
    })
    .await;
}

#[tokio::test]
async fn worker_process_is_killed() {
    scenario("kill -9 of a worker process", PROMPTLY, async |scene| {
        scene.installed().await?;
        if !scene.can_kill(&scene.pod(Role::Worker).await?).await {
            return Ok(Verdict::not_run("the nodes are no containers here"));
        }
        lose_workers(scene, async |scene| {
            let worker = scene.pod(Role::Worker).await?;
            scene.kill(&worker).await
        })
        .await
    })
    .await;
}

#[tokio::test]
async fn workers_are_restarted_by_a_rollout() {
    let bar = format!("{UNNOTICED}; each shard moves at most once");
    scenario("rollout restart of workers", &bar, async |scene| {
        scene.installed().await?;
        let load = scene.load().await?;
        let before = scene.rest().await?;
        scene.kubectl.restart(Role::Worker).await?;
        let (changed, most) = scene.rest().await?.changes_since(&before);
        Ok(Verdict::default()
            .shows(format!("{changed} shards moved, each at most {most} times"))
            .requires(most <= 1, format!("a shard went through {most} epochs"))
            .unnoticed(&load.end().await?))
    })
    .await;
}

#[tokio::test]
async fn workers_are_scaled_up_and_down() {
    scenario("scale workers 2 -> 4 -> 2", UNNOTICED, async |scene| {
        scene.installed().await?;
        let load = scene.load().await?;
        scene.kubectl.scale(Role::Worker, 4).await?;
        scene.rest_with(4).await?;
        scene.kubectl.scale(Role::Worker, 2).await?;
        scene.rest_with(2).await?;
        Ok(Verdict::default().unnoticed(&load.end().await?))
    })
    .await;
}

/// Loses one under load and waits until there are as many as before, again while that took
/// too long for S7. Without a store the legacy sessions of a lost worker end with 404.
async fn lose_workers(
    scene: &Scene,
    mut lose: impl AsyncFnMut(&Scene) -> Result<Duration>,
) -> Result<Verdict> {
    scene.installed().await?;
    let load = scene.load().await?;
    let clients = scene.setting.clients;
    let mut backs: Vec<Duration> = Vec::new();
    while is_to_repeat(&backs, clients) {
        backs.push(lose(scene).await?);
        scene.rest().await?;
    }
    let figures = load.end().await?;
    Ok(Verdict::default()
        .back_after_deaths(&backs, is_light(clients))
        .load(&figures))
}
