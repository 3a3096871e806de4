//! Workers scaled by their load, without a hand.

use std::time::Duration;

use anyhow::{Result, ensure};
use hexagram_e2e::{Figures, Role, Scene, UNNOTICED, Verdict, finally, scenario};
use tokio::time::sleep;

/// The release asks for so much of a core for each worker; targets are percent of it.
const REQUESTED: f64 = 0.010;
/// Over which the workers' time is measured.
const MEASURED: Duration = Duration::from_secs(20);
/// More workers than are installed, and no more than the machine bears.
const MOST: usize = 3;

#[tokio::test]
async fn workers_are_scaled_by_their_cpu() {
    let bar = format!("2 -> {MOST} under load, 2 again without; {UNNOTICED}");
    scenario("HPA scales workers by CPU", &bar, async |scene| {
        scene.installed().await?;
        if !scene.has_resource_metrics().await? && scene.setting.metrics_image.is_none() {
            return Ok(Verdict::not_run(
                "there is no metrics-server and no image of one",
            ));
        }
        let figures = finally(scaled(scene), put_back(scene)).await?;
        scene.rest().await?;
        Ok(Verdict::default().unnoticed(&figures))
    })
    .await;
}

async fn scaled(scene: &Scene) -> Result<Figures> {
    scene.install_resource_metrics().await?;
    let load = scene.load().await?;
    let values = scaling(target(scene).await?);
    let values: Vec<_> = values.iter().map(String::as_str).collect();
    scene.upgrade_with(&values).await?;
    scene.rest_with(MOST).await?;
    let figures = load.end().await?;
    scene.rest().await?;
    Ok(figures)
}

async fn put_back(scene: &Scene) -> Result<()> {
    scene.remove_resource_metrics().await?;
    scene.upgrade_with(&[]).await
}

/// Half of what the workers take under this load, on whatever machine this is.
async fn target(scene: &Scene) -> Result<u64> {
    let before = seconds(scene).await?;
    sleep(MEASURED).await;
    let taken = (seconds(scene).await? - before) / MEASURED.as_secs_f64();
    let each = taken / scene.serving(Role::Worker).await?.len() as f64;
    ensure!(each > 0.0, "the workers do not say what they take");
    Ok((each / REQUESTED * 100.0 / 2.0).clamp(1.0, 1000.0) as u64)
}

/// Of processor time that all workers have taken.
async fn seconds(scene: &Scene) -> Result<f64> {
    let mut seconds = 0.0;
    for worker in scene.serving(Role::Worker).await? {
        let metrics = scene.kubectl.metrics(&worker.name).await?;
        seconds += metrics.sum("process_cpu_seconds_total", &[]);
    }
    Ok(seconds)
}

fn scaling(target: u64) -> Vec<String> {
    let values = [
        ("enabled", "true".to_owned()),
        ("maxReplicas", MOST.to_string()),
        ("targetCPUUtilizationPercentage", target.to_string()),
        ("scaleDownStabilizationSeconds", "15".to_owned()),
    ];
    let value = |(key, value)| format!("worker.autoscaling.{key}={value}");
    values.into_iter().map(value).collect()
}
