//! Upstreams as objects, and a server that they name.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::finally::finally;
use crate::kubectl::Role;
use crate::scene::Scene;
use crate::wait;

/// Of a change of an object until every worker follows it.
const TAKEN: Duration = Duration::from_secs(90);

impl Scene {
    /// Runs an MCP server of its own, at `http://upstream/mcp`.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn run_upstream(&self) -> Result<()> {
        let template = self.setting.root.join("e2e/upstream.yaml");
        let text = tokio::fs::read_to_string(template).await?;
        let file = self.setting.folder.join("upstream.yaml");
        tokio::fs::write(&file, text.replace("IMAGE", &self.setting.image)).await?;
        let file = format!("--filename={}", file.display());
        self.kubectl.run(&["apply", &file]).await?;
        let wait = [
            "wait",
            "--for=condition=Ready",
            // A scheduler that was without an API server begins late.
            "--timeout=180s",
            "pod/upstream",
        ];
        self.kubectl.run_to_end(&wait).await.map(|_| ())
    }

    /// Removes the server and all objects.
    ///
    /// # Errors
    /// When something stays.
    pub async fn remove_upstreams(&self) -> Result<()> {
        let objects = ["delete", "upstreams.hexagram.dev", "--all"];
        self.kubectl.run(&objects).await?;
        let server = [
            "delete",
            "pod/upstream",
            "service/upstream",
            "--ignore-not-found",
        ];
        self.kubectl.run_to_end(&server).await.map(|_| ())
    }

    /// `work` while a server of its own is all that is served, by the object `tour`.
    ///
    /// # Errors
    /// When it is not served, the work fails, or what is installed is not served again.
    pub async fn with_upstream<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let served = async {
            self.run_upstream().await?;
            let spec = json!({"url": "http://upstream/mcp"});
            self.apply_upstream("tour", &spec).await?;
            self.workers_serve(&["tour"]).await?;
            work.await
        };
        let back = async {
            self.remove_upstreams().await?;
            self.workers_serve(&["demo"]).await
        };
        finally(served, back).await
    }

    /// Makes an object, or changes it.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn apply_upstream(&self, name: &str, spec: &Value) -> Result<()> {
        let object = json!({
            "apiVersion": "hexagram.dev/v1alpha1",
            "kind": "Upstream",
            "metadata": {"name": name},
            "spec": spec,
        });
        let file = format!("upstream-{name}");
        self.hand_in("apply", &file, &[object]).await
    }

    /// Waits until the object's condition Accepted has this reason; its message.
    ///
    /// # Errors
    /// When it has not in time.
    pub async fn upstream_is(&self, name: &str, reason: &str) -> Result<String> {
        wait::until(format!("{name} is {reason}"), TAKEN, async || {
            let object = self.kubectl.get(&["upstreams.hexagram.dev", name]).await?;
            let conditions = object["status"]["conditions"].as_array();
            let accepted = conditions.into_iter().flatten();
            let accepted = accepted.into_iter().find(|one| one["type"] == "Accepted");
            let accepted = accepted.context("it has no condition yet")?;
            let current = accepted["observedGeneration"] == object["metadata"]["generation"];
            ensure!(current && accepted["reason"] == reason, "it is {accepted}");
            Ok(accepted["message"].as_str().unwrap_or_default().to_owned())
        })
        .await
    }

    /// Ends the server of [`Self::run_upstream`], which may be run again.
    ///
    /// # Errors
    /// When it stays.
    pub async fn stop_upstream(&self) -> Result<()> {
        let delete = ["delete", "pod/upstream"];
        self.kubectl.run_to_end(&delete).await.map(|_| ())
    }

    /// Waits until the object's condition Reachable has this reason; its status.
    ///
    /// # Errors
    /// When it has not in time.
    pub async fn upstream_is_seen(&self, name: &str, reason: &str) -> Result<Value> {
        wait::until(format!("{name} is {reason}"), TAKEN, async || {
            let object = self.kubectl.get(&["upstreams.hexagram.dev", name]).await?;
            let conditions = object["status"]["conditions"].as_array();
            let mut conditions = conditions.into_iter().flatten();
            let reachable = conditions.find(|one| one["type"] == "Reachable");
            let reachable = reachable.context("no worker has said anything yet")?;
            ensure!(reachable["reason"] == reason, "it is {reachable}");
            Ok(object["status"].clone())
        })
        .await
    }

    /// Waits until every worker serves exactly these upstreams.
    ///
    /// # Errors
    /// When one does not in time.
    pub async fn workers_serve(&self, expected: &[&str]) -> Result<()> {
        wait::until(format!("{expected:?} at the workers"), TAKEN, async || {
            for worker in self.serving(Role::Worker).await? {
                let status = self.kubectl.status(&worker.name).await?;
                let upstreams = status["upstreams"].as_array();
                let names = upstreams.into_iter().flatten().map(|one| &one["name"]);
                let names: Vec<_> = names.filter_map(Value::as_str).collect();
                ensure!(names == expected, "{} serves {names:?}", worker.name);
            }
            Ok(())
        })
        .await
    }
}
