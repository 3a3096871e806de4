//! The chart's network policies, where the cluster has somebody who enforces them.

use anyhow::Result;
use hexagram_e2e::{Role, Scene, Size, UNNOTICED, Verdict, finally, scenario};

/// Where an edge listens for clients.
const CLIENTS: u16 = 8080;
/// Where a worker listens for links.
const LINKS: u16 = 7100;

#[tokio::test]
async fn strangers_are_kept_out_of_links() {
    let bar = format!(
        "a pod of nobody's reaches each edge's port {CLIENTS} and no worker's {LINKS}; meanwhile \
         workers are scaled 2 -> 3 -> 2: {UNNOTICED}"
    );
    scenario("network policies", &bar, async |scene| {
        scene.installed().await?;
        scene.with_stranger(judged(scene)).await
    })
    .await;
}

async fn judged(scene: &Scene) -> Result<Verdict> {
    if !scene.enforces_policies().await? {
        return Ok(Verdict::not_run("nobody enforces policies here"));
    }
    let back = scene.kubectl.scale(Role::Worker, Size::default().workers);
    let verdict = finally(two_three_two(scene), back).await?;
    scene.rest().await?;
    // Else it might have been kept out because nobody listens there.
    scene.let_stranger_in_to_links(LINKS).await?;
    Ok(verdict.shows("a policy that lets it in to links does"))
}

async fn two_three_two(scene: &Scene) -> Result<Verdict> {
    let load = scene.load().await?;
    let mut verdict = Verdict::default();
    for workers in [2, 3, 2] {
        scene.kubectl.scale(Role::Worker, workers).await?;
        scene.rest_with(workers).await?;
        verdict = tried(scene, verdict).await?;
    }
    Ok(verdict.unnoticed(&load.end().await?))
}

/// Holds what the stranger reaches against the bar.
async fn tried(scene: &Scene, verdict: Verdict) -> Result<Verdict> {
    let (edges, of_edges) = reached(scene, Role::Edge, CLIENTS).await?;
    let (workers, of_workers) = reached(scene, Role::Worker, LINKS).await?;
    Ok(verdict
        .shows(format!(
            "it reached {edges} of {of_edges} edges, {workers} of {of_workers} workers"
        ))
        .requires(edges == of_edges, "it is kept away from clients' port")
        .requires(workers == 0, "it reaches links"))
}

/// How many pods of a role the stranger reaches, and of how many.
async fn reached(scene: &Scene, role: Role, port: u16) -> Result<(usize, usize)> {
    let pods = scene.serving(role).await?;
    let mut reached = 0;
    for pod in &pods {
        reached += usize::from(scene.stranger_reaches(&pod.ip, port).await?);
    }
    Ok((reached, pods.len()))
}
