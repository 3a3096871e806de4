//! Machines and ways between them that are lost.

use std::time::Duration;

use anyhow::{Context, Result};
use hexagram_e2e::{
    AVAILABLE, Figures, Pod, RECOVERY, Role, SOON, SOON_ONCE, Scene, Verdict, scenario,
};
use tokio::time::{Instant, sleep_until};

use super::{NO_CONTAINERS, is_apart};

/// Longer than any bar: the report shows by how much one was missed.
const SERVICE: Duration = Duration::from_secs(90);
/// Until Kubernetes sends nobody to a lost node any more, and more.
const NOTICED: Duration = Duration::from_secs(240);
/// In which availability is measured (S7).
const WINDOW: Duration = Duration::from_secs(600);
/// Long enough for every timeout of a link.
const CUT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_window_of_ten_minutes_has_one_loss() {
    let bar = format!(
        "{AVAILABLE} % answered; every failure refused or unknown, within {} s; {SOON_ONCE}",
        RECOVERY.as_secs()
    );
    let name = "ten minutes with one kill -9 of a worker process";
    scenario(name, &bar, async |scene| {
        scene.installed().await?;
        let worker = scene.pod(Role::Worker).await?;
        if !scene.can_kill(&worker).await {
            return Ok(Verdict::not_run(NO_CONTAINERS));
        }
        let (load, end) = (scene.load().await?, Instant::now() + WINDOW);
        sleep_until(end - WINDOW / 2).await;
        let back = scene.kill(&worker).await?;
        sleep_until(end).await;
        let figures = load.end().await?;
        scene.rest().await?;
        Ok(Verdict::default()
            .back_after_deaths(&[back], false)
            .available(&figures))
    })
    .await;
}

#[tokio::test]
async fn node_is_lost() {
    let bar = "full service from the surviving edge in < 10 s";
    scenario("node loses its power", bar, async |scene| {
        if !is_apart(scene).await? {
            return Ok(Verdict::not_run("pods are all on one node here"));
        }
        if !scene.can_kill(&scene.pod(Role::Worker).await?).await {
            return Ok(Verdict::not_run(NO_CONTAINERS));
        }
        let (node, load) = (scene.spare_node().await?, scene.load().await?);
        let survivor = other_edge(scene, &node).await?;
        let seen = scene
            .without_power(&node, lost(scene, &node, &survivor))
            .await?;
        scene.rest().await?;
        Ok(verdict_of(&seen).load(&load.end().await?))
    })
    .await;
}

/// An edge that is not on this node.
async fn other_edge(scene: &Scene, node: &str) -> Result<Pod> {
    let edges = scene.serving(Role::Edge).await?;
    let other = edges.into_iter().find(|edge| edge.node != node);
    other.context("every edge is on the same node")
}

/// Since the node was lost: until the surviving edge served everybody, until Kubernetes
/// noticed, and until clients of the Service were served by it alone.
struct Seen {
    survivor: Duration,
    noticed: Duration,
    service: Duration,
}

async fn lost(scene: &Scene, node: &str, survivor: &Pod) -> Result<Seen> {
    let start = Instant::now();
    let survivor = scene.served_by(survivor, start, SERVICE).await?;
    scene.node_ready(node, false).await?;
    let noticed = start.elapsed();
    let service = scene.full_service_within(NOTICED, start).await?;
    Ok(Seen {
        survivor,
        noticed,
        service,
    })
}

fn verdict_of(seen: &Seen) -> Verdict {
    let (noticed, service) = (seen.noticed.as_secs_f64(), seen.service.as_secs_f64());
    Verdict::default()
        .back_within(SOON, &[seen.survivor])
        .shows(format!("Kubernetes noticed by {noticed:.1} s"))
        .shows(format!(
            "full service through the Service after {service:.1} s"
        ))
}

#[tokio::test]
async fn way_between_edge_and_worker_is_cut() {
    let bar = "the other edge refuses nobody; full service < 10 s after it is mended";
    scenario("partition of an edge and a worker", bar, async |scene| {
        if !is_apart(scene).await? {
            return Ok(Verdict::not_run("pods are all on one node here"));
        }
        let worker = scene.pod(Role::Worker).await?;
        if !scene.can_kill(&worker).await {
            return Ok(Verdict::not_run(NO_CONTAINERS));
        }
        let (refused, back, figures) = cut_off(scene, &worker).await?;
        scene.rest().await?;
        Ok(Verdict::default()
            .shows(format!("the other edge refused {refused}"))
            .requires(refused == 0.0, "clients of the other edge were harmed")
            .back_within(SOON, &[back])
            .load(&figures))
    })
    .await;
}

/// What the edge refused that was not cut off, and when all was well again.
async fn cut_off(scene: &Scene, worker: &Pod) -> Result<(f64, Duration, Figures)> {
    let edge = other_edge(scene, &worker.node).await?;
    let other = other_edge(scene, &edge.node).await?;
    let load = scene.load().await?;
    let before = refusals(scene, &other).await?;
    scene.without_way(&edge, worker, CUT).await?;
    let back = scene.full_service(Instant::now()).await?;
    let refused = refusals(scene, &other).await? - before;
    Ok((refused, back, load.end().await?))
}

async fn refusals(scene: &Scene, edge: &Pod) -> Result<f64> {
    let metrics = scene.kubectl.metrics(&edge.name).await?;
    Ok(metrics.sum("hexagram_edge_refusals_total", &[]))
}
