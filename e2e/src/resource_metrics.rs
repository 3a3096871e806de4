//! The API that says how much processor time pods take: autoscalers ask it.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::scene::Scene;

const API: &str = "v1beta1.metrics.k8s.io";
/// Everything of metrics-server that is in a namespace is in this one; the last of two
/// such flags counts.
const PLACE: &str = "--namespace=kube-system";

impl Scene {
    /// Whether somebody has installed it in this cluster.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub async fn has_resource_metrics(&self) -> Result<bool> {
        let known = ["get", "apiservices", "--output=name"];
        let known = self.kubectl.run(&known).await?;
        Ok(known.lines().any(|name| name.ends_with(API)))
    }

    /// Installs metrics-server if nobody has, until the API answers.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn install_resource_metrics(&self) -> Result<()> {
        if !self.has_resource_metrics().await? {
            let file = self.write_manifest().await?;
            let file = format!("--filename={}", file.display());
            self.kubectl.run(&["apply", PLACE, &file]).await?;
        }
        let api = format!("apiservice/{API}");
        let wait = ["wait", "--for=condition=Available", "--timeout=180s", &api];
        self.kubectl.run_to_end(&wait).await.map(|_| ())
    }

    /// Removes what [`Scene::install_resource_metrics`] has installed, if it did.
    ///
    /// # Errors
    /// When something stays.
    pub async fn remove_resource_metrics(&self) -> Result<()> {
        if !self.manifest().exists() {
            return Ok(());
        }
        let file = format!("--filename={}", self.manifest().display());
        let delete = ["delete", PLACE, "--ignore-not-found", &file];
        self.kubectl.run_to_end(&delete).await?;
        tokio::fs::remove_file(self.manifest()).await?;
        Ok(())
    }

    async fn write_manifest(&self) -> Result<PathBuf> {
        let template = self.setting.root.join("e2e/metrics-server.yaml");
        let image = self.setting.metrics_image.as_ref();
        let image = image.context("there is no image of metrics-server")?;
        let text = tokio::fs::read_to_string(template).await?;
        tokio::fs::write(self.manifest(), text.replace("IMAGE", image)).await?;
        Ok(self.manifest())
    }

    /// There while ours is installed.
    fn manifest(&self) -> PathBuf {
        self.setting.folder.join("metrics-server.yaml")
    }
}
