//! The release with a session store of its own: what its loss costs, and what it saves.

use anyhow::Result;
use hexagram_e2e::{Role, SOON_ONCE, Scene, UNNOTICED, Verdict, finally, scenario};

use super::NO_CONTAINERS;

#[tokio::test]
async fn store_is_killed_and_wiped() {
    let name = "Valkey killed, then its pod deleted with its data";
    scenario(name, UNNOTICED, async |scene| {
        with_store(scene, async || {
            let load = scene.load().await?;
            scene.kill_store().await?;
            scene.wipe_store().await?;
            scene.rest().await?;
            Ok(Verdict::default().unnoticed(&load.end().await?))
        })
        .await
    })
    .await;
}

#[tokio::test]
async fn worker_process_is_killed_with_a_store() {
    let name = "kill -9 of a worker process, with Valkey";
    let bar = format!("0 sessions lost; {SOON_ONCE}");
    scenario(name, &bar, async |scene| {
        with_store(scene, async || {
            let load = scene.load().await?;
            let back = scene.kill(&scene.pod(Role::Worker).await?).await?;
            scene.rest().await?;
            let figures = load.end().await?;
            let lost = figures.total.sessions.lost;
            Ok(Verdict::default()
                .back_after_deaths(&[back], false)
                .requires(lost == 0, format!("{lost} sessions were lost"))
                .load(&figures))
        })
        .await
    })
    .await;
}

/// Installs anew with a store, and anew without it afterwards: a release that changes its
/// store ends its sessions anyway.
async fn with_store(scene: &Scene, work: impl AsyncFnOnce() -> Result<Verdict>) -> Result<Verdict> {
    let Some(image) = scene.setting.store_image.clone() else {
        return Ok(Verdict::not_run("there is no image of a store"));
    };
    let work = async {
        scene.install_store(&image).await?;
        match scene.can_kill_store().await? {
            true => work().await,
            false => Ok(Verdict::not_run(NO_CONTAINERS)),
        }
    };
    let back = async { scene.install().await.map(|_| ()) };
    finally(work, back).await
}
