//! The control plane away, doubled, or without its object: what is placed goes on.

use std::time::Duration;

use anyhow::{Result, ensure};
use hexagram_e2e::{
    Figures, Metrics, Role, SOON, Scene, Size, UNNOTICED, Verdict, finally, scenario,
};
use tokio::time::{Instant, sleep};

use super::{NO_CONTAINERS, grown};

/// The lease of an operator that died runs out, and the one that stands by sees it.
const STANDBY: Duration = Duration::from_secs(30);
/// A kubelet starts a container again that has just begun to die often, and an edge asks
/// workers.
const RESTART: Duration = Duration::from_secs(30);
const MINUTE: Duration = Duration::from_secs(60);
/// A container's restart, and the time in which an operator would have acted.
const HEALED: Duration = Duration::from_secs(20);
/// Of a lease: it is renewed less often.
const LOOK: Duration = Duration::from_secs(1);
/// Of the operator's memory.
const MEGABYTES: f64 = 64.0;
/// Of writes a minute by an operator with nothing to do.
const HANDFUL: f64 = 12.0;

#[tokio::test]
async fn api_server_is_away() {
    let bar = UNNOTICED;
    scenario("API server stopped for a while", bar, async |scene| {
        scene.installed().await?;
        let Some(node) = scene.control_plane().await? else {
            return Ok(Verdict::not_run(NO_CONTAINERS));
        };
        let (load, length) = (scene.load().await?, scene.setting.outage);
        let passes = async {
            sleep(length).await;
            Ok(())
        };
        scene.without_api_server(&node, passes).await?;
        scene.rest().await?;
        Ok(Verdict::default()
            .shows(format!("away for {} s", length.as_secs()))
            .unnoticed(&load.end().await?))
    })
    .await;
}

#[tokio::test]
async fn edge_starts_without_an_api_server() {
    let bar = format!(
        "full service from both edges < {} s, before the API server is back",
        RESTART.as_secs()
    );
    let name = "kill -9 of an edge process, API server stopped";
    scenario(name, &bar, async |scene| {
        scene.installed().await?;
        let Some(node) = scene.control_plane().await? else {
            return Ok(Verdict::not_run(NO_CONTAINERS));
        };
        let edge = scene.pod(Role::Edge).await?;
        let load = scene.load().await?;
        let restarted = async {
            let start = Instant::now();
            scene.crash(&edge).await?;
            // Nobody can tell the Service that an edge is away, so half of these clients
            // come to it.
            scene.full_service_within(MINUTE, start).await
        };
        let back = scene.without_api_server(&node, restarted).await?;
        scene.rest().await?;
        scene.restarted(&edge).await?;
        Ok(Verdict::default()
            .back_within(RESTART, &[back])
            .load(&load.end().await?))
    })
    .await;
}

#[tokio::test]
async fn operator_has_nothing_to_do() {
    let bar =
        "memory < 64 MB, a handful of API writes a minute, while an Upstream object is served";
    scenario("operator idle", bar, async |scene| {
        scene.installed().await?;
        scene.with_upstream(idle(scene)).await
    })
    .await;
}

async fn idle(scene: &Scene) -> Result<Verdict> {
    // All that is to be said of the object is said then.
    scene.upstream_is_seen("tour", "Answers").await?;
    let (before, renewed) = (api_server(scene).await?, renewals(scene).await?);
    let after = api_server(scene).await?;
    let writes = written(&after) - written(&before);
    let operator = scene.leading().await?;
    let metrics = scene.kubectl.metrics(&operator.name).await?;
    let memory = metrics.sum("process_resident_memory_bytes", &[]) / 1e6;
    Ok(Verdict::default()
        .shows(format!("{memory:.1} MB resident"))
        .shows(format!(
            "{renewed} renewals of the lease and {writes} other writes a minute"
        ))
        .requires(
            memory > 0.0 && memory < MEGABYTES,
            "memory is not under 64 MB",
        )
        .requires(renewed > 0.0, "the lease was not seen to be renewed")
        .requires(tells_of_writes(&after), "the API server tells of no writes")
        .requires(renewed + writes <= HANDFUL, "too many writes"))
}

async fn api_server(scene: &Scene) -> Result<Metrics> {
    let page = scene.kubectl.run(&["get", "--raw", "/metrics"]).await?;
    Ok(Metrics::from(page))
}

/// Whether there is the metric that [`written`] goes by: every kubelet renews a lease.
fn tells_of_writes(metrics: &Metrics) -> bool {
    let renewed = [r#"resource="leases""#, r#"verb="PUT""#];
    metrics.sum("apiserver_request_total", &renewed) > 0.0
}

/// Writes of kinds that the operator alone writes, or in this way, while nothing happens;
/// leases apart: those are many peoples'. Secrets and events may be others' too.
fn written(metrics: &Metrics) -> f64 {
    let written = |labels: &[&str]| metrics.sum("apiserver_request_total", labels);
    let of_kind = |kind: &str| {
        let kind = format!("resource=\"{kind}\"");
        let verbs = ["PUT", "PATCH", "APPLY", "POST"].map(|verb| format!("verb=\"{verb}\""));
        let writes = verbs.iter().map(|verb| written(&[kind.as_str(), verb]));
        writes.sum::<f64>()
    };
    let kinds = ["shardmaps", "upstreams", "secrets"].map(of_kind);
    let costs = [r#"resource="pods""#, r#"subresource="""#, r#"verb="PATCH""#];
    let events = [r#"group="events.k8s.io""#, r#"verb="POST""#];
    kinds.iter().sum::<f64>() + written(&costs) + written(&events)
}

/// How often the lease was renewed in a minute from now.
async fn renewals(scene: &Scene) -> Result<f64> {
    let (start, mut last) = (Instant::now(), lease(scene).await?);
    let mut renewals = 0.0;
    while start.elapsed() < MINUTE {
        sleep(LOOK).await;
        let now = lease(scene).await?;
        renewals += f64::from(u8::from(now != last));
        last = now;
    }
    Ok(renewals)
}

async fn lease(scene: &Scene) -> Result<String> {
    let version = "--output=jsonpath={.metadata.resourceVersion}";
    scene
        .kubectl
        .run(&["get", "lease", "hexagram", version])
        .await
}

#[tokio::test]
async fn shard_map_is_deleted_by_hand() {
    let bar = format!("{UNNOTICED}; made again, no epoch goes back");
    scenario("ShardMap deleted by hand", &bar, async |scene| {
        scene.installed().await?;
        let load = scene.load().await?;
        let before = scene.rest().await?;
        let start = Instant::now();
        let delete = ["delete", "shardmaps.hexagram.dev", "hexagram"];
        scene.kubectl.run(&delete).await?;
        let after = scene.rest().await?;
        let seconds = start.elapsed().as_secs_f64();
        let verdict = Verdict::default().shows(format!("made again within {seconds:.1} s"));
        Ok(grown(verdict, &after, &before).unnoticed(&load.end().await?))
    })
    .await;
}

#[tokio::test]
async fn two_operators_lose_the_one_that_leads() {
    let bar = format!("{UNNOTICED}; the other leads in < {} s", STANDBY.as_secs());
    scenario("two operators, the leader deleted", &bar, async |scene| {
        scene.installed().await?;
        let back = scene.kubectl.scale(Role::Operator, 1);
        let (led, figures) = finally(lose_the_leader(scene), back).await?;
        scene.rest().await?;
        Ok(Verdict::default()
            .shows(format!("the other led after {:.1} s", led.as_secs_f64()))
            .requires(led < STANDBY, "that was too late")
            .unnoticed(&figures))
    })
    .await;
}

async fn lose_the_leader(scene: &Scene) -> Result<(Duration, Figures)> {
    scene.kubectl.scale(Role::Operator, 2).await?;
    let (operators, size) = (2, Size::default());
    scene.rest_as(Size { operators, ..size }).await?;
    let load = scene.load().await?;
    let leading = scene.leading().await?;
    scene.kubectl.delete_now(&leading).await?;
    let led = scene.next_leader(&leading, 2 * STANDBY).await?;
    scene.rest_as(Size { operators, ..size }).await?;
    Ok((led, load.end().await?))
}

#[tokio::test]
async fn worker_dies_without_an_operator() {
    let bar = "somebody is served at all times; the container's restart alone heals it in < 20 s";
    let name = "kill -9 of a worker process, no operator for a minute";
    scenario(name, bar, async |scene| {
        scene.installed().await?;
        let worker = scene.pod(Role::Worker).await?;
        if !scene.can_kill(&worker).await {
            return Ok(Verdict::not_run(NO_CONTAINERS));
        }
        let load = scene.load().await?;
        let work = without_operator(scene, async || scene.crash(&worker).await);
        let alone = finally(work, scene.kubectl.scale(Role::Operator, 1)).await?;
        scene.rest().await?;
        let figures = load.end().await?;
        Ok(served_alone(alone)
            .shows(format!(
                "no client had an answer for {:.0} ms",
                figures.outage_ms
            ))
            .requires(figures.outage_ms < 2000.0, "for a time nobody was served")
            .load(&figures))
    })
    .await;
}

#[tokio::test]
async fn worker_pod_is_lost_without_an_operator() {
    let bar = "somebody is served at all times; full service < 10 s after an operator leads";
    let name = "worker pod deleted with --force, no operator for a minute";
    scenario(name, bar, async |scene| {
        scene.installed().await?;
        let (load, worker) = (scene.load().await?, scene.pod(Role::Worker).await?);
        let lose = async || scene.kubectl.delete_now(&worker).await;
        let work = without_operator(scene, lose);
        // Its process goes on for a moment: an answer meanwhile says nothing.
        finally(work, scene.kubectl.scale(Role::Operator, 1)).await?;
        scene.led().await?;
        let back = scene.full_service(Instant::now()).await?;
        scene.rest().await?;
        let figures = load.end().await?;
        Ok(Verdict::default()
            .requires(figures.outage_ms < 2000.0, "for a time nobody was served")
            .back_within(SOON, &[back])
            .load(&figures))
    })
    .await;
}

/// Full service was back after so long, if at all.
fn served_alone(alone: Option<Duration>) -> Verdict {
    match alone {
        Some(time) => Verdict::default().back_within(HEALED, &[time]),
        None => Verdict::default().requires(false, "no full service without an operator"),
    }
}

/// Loses something for a minute in which no operator is there.
async fn without_operator(
    scene: &Scene,
    lose: impl AsyncFnOnce() -> Result<()>,
) -> Result<Option<Duration>> {
    scene.kubectl.scale(Role::Operator, 0).await?;
    scene.gone(Role::Operator).await?;
    let start = Instant::now();
    lose().await?;
    let alone = scene.full_service_within(MINUTE, start).await.ok();
    sleep(MINUTE.saturating_sub(start.elapsed())).await;
    ensure!(
        scene.serving(Role::Operator).await?.is_empty(),
        "an operator is there"
    );
    Ok(alone)
}
