//! Planned changes of edges: how clients get to others, and what comes of a call that runs.

use std::time::Duration;

use anyhow::Result;
use hexagram_e2e::{Countdown, Figures, RESUMABLE, Role, Scene, Size, Verdict, finally, scenario};
use tokio::time::sleep;

/// Connections live for half a minute at most.
const YOUNG: &str = "edge.connectionAgeSeconds=30";
/// After which all clients have connected anew.
const SHARING: Duration = Duration::from_secs(60);
/// Of each kind of call.
const CLIENTS: usize = 5;
/// Shorter than the grace of an edge, one after the other through the whole rollout.
const SHORT: Countdown = Countdown::modern(80, Duration::from_millis(100), Duration::from_secs(75));
/// Longer than an edge's delay and grace, and than the rollout.
const LONG: Countdown = Countdown::legacy(100, Duration::from_millis(900));

#[tokio::test]
async fn edges_are_scaled_up_and_down() {
    scenario("scale edges 1 -> 3 -> 1", RESUMABLE, async |scene| {
        scene.installed().await?;
        let (shares, figures) = finally(edges_one_three_one(scene), as_before(scene)).await?;
        let whole: f64 = shares.iter().sum();
        let least = shares.iter().copied().fold(whole, f64::min);
        scene.rest().await?;
        Ok(Verdict::default()
            .shows(format!("connections of three edges: {shares:?}"))
            .requires(least > whole / 6.0, "the new edges have no share")
            .resumable(&figures))
    })
    .await;
}

async fn as_before(scene: &Scene) -> Result<()> {
    scene
        .kubectl
        .scale(Role::Edge, Size::default().edges)
        .await?;
    scene.upgrade_with(&[]).await
}

async fn edges_one_three_one(scene: &Scene) -> Result<(Vec<f64>, Figures)> {
    scene.upgrade_with(&[YOUNG]).await?;
    scale_edges(scene, 1).await?;
    let load = scene.load().await?;
    scale_edges(scene, 3).await?;
    sleep(SHARING).await;
    let shares = connections(scene).await?;
    scale_edges(scene, 1).await?;
    Ok((shares, load.end().await?))
}

async fn scale_edges(scene: &Scene, edges: usize) -> Result<()> {
    scene.kubectl.scale(Role::Edge, edges).await?;
    let size = Size::default();
    scene.rest_as(Size { edges, ..size }).await.map(|_| ())
}

async fn connections(scene: &Scene) -> Result<Vec<f64>> {
    let mut connections = Vec::new();
    for edge in scene.serving(Role::Edge).await? {
        let metrics = scene.kubectl.metrics(&edge.name).await?;
        connections.push(metrics.sum("hexagram_edge_connections", &[]));
    }
    Ok(connections)
}

#[tokio::test]
async fn calls_run_on_while_edges_are_restarted() {
    let bar = "no call fails; those of 8 s, shorter than the grace, end where they began; those of \
               90 s are resumed at another edge, each of their events told once and in order";
    scenario("calls while edges roll out", bar, async |scene| {
        scene.installed().await?;
        // No shard moves without one: of a call that ran during a move the response alone can
        // be resumed (DESIGN 7).
        scene.kubectl.scale(Role::Operator, 0).await?;
        let back = scene.kubectl.scale(Role::Operator, 1);
        let verdict = finally(calls_through_a_rollout(scene), back).await?;
        scene.rest().await?;
        Ok(verdict)
    })
    .await;
}

async fn calls_through_a_rollout(scene: &Scene) -> Result<Verdict> {
    scene.gone(Role::Operator).await?;
    let (short, long, ()) = tokio::try_join!(
        SHORT.run(&scene.setting, CLIENTS),
        LONG.run(&scene.setting, CLIENTS),
        restart_under_calls(scene),
    )?;
    let (calls, resumed) = (short.countdowns, long.resumed);
    Ok(Verdict::default()
        .shows(format!("{calls} calls of 8 s"))
        .shows(format!(
            "{CLIENTS} calls of 90 s, and the streams beside them, resumed {resumed} times"
        ))
        .requires(
            resumed >= 2 * CLIENTS as u64,
            "not every stream was cut: this says nothing of those",
        ))
}

async fn restart_under_calls(scene: &Scene) -> Result<()> {
    // Of each client a call, and of those with a session its stream.
    scene.running(3 * CLIENTS as u64).await?;
    scene.kubectl.restart(Role::Edge).await
}
