//! Upstreams as objects that come, change and go while clients talk.

use anyhow::{Result, ensure};
use hexagram_e2e::{Figures, Scene, UNNOTICED, Verdict, finally, scenario};
use serde_json::json;
use tokio::time::Instant;

#[tokio::test]
async fn upstream_is_added_broken_mended_and_removed() {
    let name = "an Upstream added, broken, changed and removed";
    let bar = format!(
        "{UNNOTICED}; each change reaches all workers, a bad object only says so, and each says \
         whether its server answers"
    );
    scenario(name, &bar, async |scene| {
        scene.installed().await?;
        scene.run_upstream().await?;
        let changed = async {
            let changed = added_to_removed(scene).await?;
            reach_is_told(scene).await?;
            anyhow::Ok(changed)
        };
        let (seconds, figures) = finally(changed, scene.remove_upstreams()).await?;
        scene.rest().await?;
        Ok(Verdict::default()
            .shows(format!("served {seconds:.1} s after `kubectl apply`"))
            .unnoticed(&figures))
    })
    .await;
}

/// How long the first object took to reach all workers, and what the load saw.
async fn added_to_removed(scene: &Scene) -> Result<(f64, Figures)> {
    let load = scene.load().await?;
    let start = Instant::now();
    let good = json!({"url": "http://upstream/mcp"});
    scene.apply_upstream("tour", &good).await?;
    scene.workers_serve(&["tour"]).await?;
    let seconds = start.elapsed().as_secs_f64();
    scene.upstream_is("tour", "Accepted").await?;
    answers(scene, "both").await?;
    is_refused_alone(scene).await?;
    let never = json!({"url": "http://upstream/mcp", "retry": "never"});
    scene.apply_upstream("tour", &never).await?;
    scene.upstream_is("tour", "Accepted").await?;
    let delete = ["delete", "upstreams.hexagram.dev", "tour"];
    scene.kubectl.run(&delete).await?;
    scene.workers_serve(&["demo"]).await?;
    Ok((seconds, load.end().await?))
}

/// Waits until the object says that its server answers, and what it is.
async fn answers(scene: &Scene, era: &str) -> Result<()> {
    let status = scene.upstream_is_seen("tour", "Answers").await?;
    let has_tools = status["tools"].as_u64().is_some_and(|tools| tools > 0);
    let is_known = status["reachable"] == true && status["era"] == era;
    ensure!(is_known && has_tools, "{status}");
    Ok(())
}

/// Before any client uses it, an object says that its Service does not answer, and that it does.
async fn reach_is_told(scene: &Scene) -> Result<()> {
    scene.stop_upstream().await?;
    let good =
        json!({"service": {"name": "upstream", "port": 80}, "era": "modern", "prefix": "walk"});
    scene.apply_upstream("tour", &good).await?;
    let status = scene.upstream_is_seen("tour", "Unreachable").await?;
    let is_named = status.to_string().contains("Service upstream in ");
    ensure!(status["reachable"] == false && is_named, "{status}");
    scene.run_upstream().await?;
    answers(scene, "modern").await?;
    let delete = ["delete", "upstreams.hexagram.dev", "tour"];
    scene.kubectl.run(&delete).await?;
    scene.workers_serve(&["demo"]).await
}

/// Objects that cannot be used say why, and the good one is served on.
async fn is_refused_alone(scene: &Scene) -> Result<()> {
    let secret = json!({"name": "none-such", "key": "key"});
    let header = json!({"name": "authorization", "secretKeyRef": secret});
    for (spec, reason, says) in [
        (
            json!({"url": "http://upstream/mcp", "prefix": "tour"}),
            "NameTaken",
            "tour",
        ),
        (json!({"url": "ftp://upstream"}), "Invalid", "http://"),
        (
            json!({"url": "http://upstream/mcp", "headers": [header]}),
            "NoSecret",
            "none-such",
        ),
    ] {
        scene.apply_upstream("bad", &spec).await?;
        let message = scene.upstream_is("bad", reason).await?;
        ensure!(message.contains(says), "{message}");
        scene.workers_serve(&["tour"]).await?;
    }
    let service = json!({"name": "upstream", "port": 80});
    let both = json!({"url": "http://upstream/mcp", "service": service});
    let refusal = scene.apply_upstream("both", &both).await;
    let is_told =
        |why: anyhow::Error| format!("{why:#}").contains("exactly one of url and service");
    ensure!(refusal.is_err_and(is_told), "both were taken");
    Ok(())
}
