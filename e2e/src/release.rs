//! The release: installed as every scenario finds it, changed with `helm upgrade`, and
//! put back.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::finally::finally;
use crate::kubectl::Role;
use crate::probe;
use crate::scene::{Scene, Size};

/// Of `helm install` until the first answer.
const FIRST_ANSWER: Duration = Duration::from_secs(180);
/// The chart's `helm test`.
const TEST_POD: &str = "hexagram-test";
/// Less than its pod may take: what that said can still be asked for.
const TEST_LIMIT: &str = "--timeout=90s";

impl Scene {
    /// Installs the release where nothing is; the time until a call was answered.
    ///
    /// # Errors
    /// When Helm refuses or nobody answers.
    pub async fn install(&self) -> Result<Duration> {
        self.install_with(&[]).await
    }

    /// As [`Scene::install`], with some values (`KEY=VALUE`) changed.
    ///
    /// # Errors
    /// When Helm refuses or nobody answers.
    pub async fn install_with(&self, changed: &[&str]) -> Result<Duration> {
        self.uninstall().await?;
        let values = self.values(self.has_no_kinds().await?);
        tokio::fs::write(self.values_file(), values.to_string()).await?;
        let start = Instant::now();
        let how = ["install", "--create-namespace"];
        self.helm_with(&how, changed).await?;
        probe::first_answer(self.setting.authority(), FIRST_ANSWER).await?;
        Ok(start.elapsed())
    }

    /// `helm test`: a pod of the cluster asks the Service what it speaks.
    ///
    /// # Errors
    /// With what it said, when it is not served.
    pub async fn test(&self) -> Result<()> {
        // Helm leaves the pod of a test that failed, and no uninstall removes it.
        let delete = ["delete", "pod", TEST_POD, "--ignore-not-found"];
        let removed = async { self.kubectl.run_to_end(&delete).await.map(|_| ()) };
        finally(self.tested(), removed).await
    }

    async fn tested(&self) -> Result<()> {
        let test = ["test", "hexagram", TEST_LIMIT];
        match self.kubectl.helm(&test).await {
            Ok(tests) => {
                ensure!(tests.contains(TEST_POD), "the release has no test: {tests}");
                Ok(())
            }
            Err(failure) => {
                let said = self.kubectl.run(&["logs", TEST_POD]).await;
                let said = said.unwrap_or_else(|error| format!("{error:#}"));
                Err(failure.context(said))
            }
        }
    }

    /// `helm upgrade` to what was installed with some values changed, until all pods are
    /// those of the new revision.
    ///
    /// # Errors
    /// When Helm refuses, with its reason, or a rollout does not end.
    pub async fn upgrade_with(&self, changed: &[&str]) -> Result<()> {
        self.helm_with(&["upgrade"], changed).await?;
        self.rolled_out().await
    }

    /// `helm rollback` to the revision before, until all pods are those of it.
    ///
    /// # Errors
    /// When Helm refuses or a rollout does not end.
    pub async fn roll_back(&self) -> Result<()> {
        self.kubectl.helm(&["rollback", "hexagram"]).await?;
        self.rolled_out().await
    }

    async fn rolled_out(&self) -> Result<()> {
        for role in Role::ALL {
            self.kubectl.rolled_out(role).await?;
        }
        Ok(())
    }

    async fn helm_with(&self, how: &[&str], changed: &[&str]) -> Result<()> {
        let chart = self.setting.chart().display().to_string();
        let values = format!("--values={}", self.values_file().display());
        let changed = changed.iter().map(|value| format!("--set={value}"));
        let args = ["hexagram".to_owned(), chart, values];
        let args: Vec<_> = args.into_iter().chain(changed).collect();
        let args = how.iter().copied().chain(args.iter().map(String::as_str));
        self.kubectl.helm(&args.collect::<Vec<_>>()).await?;
        Ok(())
    }

    /// What was installed, for the upgrades after it.
    fn values_file(&self) -> PathBuf {
        self.setting.folder.join("values.json")
    }

    /// What is installed would be in the way. A pod that is only forgotten runs on.
    async fn uninstall(&self) -> Result<()> {
        let args = ["uninstall", "hexagram", "--ignore-not-found"];
        self.kubectl.helm(&args).await?;
        let gone = ["wait", "--for=delete", "pods", "--all", "--timeout=150s"];
        self.kubectl.run_to_end(&gone).await.map(|_| ())
    }

    /// Whether the chart is to install the kinds: where they are already, they may be
    /// another release's, and are brought up to date without it.
    async fn has_no_kinds(&self) -> Result<bool> {
        let list = self.kubectl.run(&["get", "crds", "--output=name"]).await?;
        if !list
            .lines()
            .any(|name| name.ends_with("/shardmaps.hexagram.dev"))
        {
            return Ok(true);
        }
        let file = self.setting.chart().join("files/crds.yaml");
        let file = format!("--filename={}", file.display());
        let apply = ["apply", "--server-side", "--force-conflicts", &file];
        self.kubectl.run(&apply).await?;
        Ok(false)
    }

    /// Installed if it was not, and at rest. What a scenario before left in pieces is
    /// installed anew: that one has failed already.
    ///
    /// # Errors
    /// When it does not come to rest.
    pub async fn installed(&self) -> Result<()> {
        let list = ["list", "--short", "--deployed"];
        let found = self.kubectl.helm(&list).await?;
        let found = found.lines().any(|name| name == "hexagram");
        if found && self.rest().await.is_ok() {
            return Ok(());
        }
        self.install().await?;
        self.rest().await.map(|_| ())
    }

    fn values(&self, install_kinds: bool) -> Value {
        let image = &self.setting.image;
        let (repository, tag) = split(image);
        let host = self.setting.authority();
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        // Nodes share one machine: requests only have to fit.
        let resources = json!({"requests": {"cpu": "10m", "memory": "32Mi"}});
        let size = Size::default();
        json!({
            "image": {"repository": repository, "tag": tag},
            "service": {"type": "NodePort", "nodePort": 30080},
            "edge": {"replicas": size.edges, "allowedHosts": [host], "resources": resources},
            "worker": {"replicas": size.workers, "resources": resources},
            "operator": {"resources": resources},
            "networkPolicy": {"monitoring": anybody()},
            "demo": "tour",
            "crds": {"install": install_kinds},
        })
    }
}

/// Pods are asked by way of the API server, which is no pod: what the chart lets in by default
/// leaves it out.
fn anybody() -> Value {
    let block = |cidr: &str| json!({"ipBlock": {"cidr": cidr}});
    json!([{"namespaceSelector": {}}, block("0.0.0.0/0"), block("::/0")])
}

/// Repository and tag: a colon before the last slash belongs to a port.
fn split(image: &str) -> (&str, &str) {
    match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (image, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setting::tests::setting;

    #[test]
    fn an_image_has_a_repository_and_a_tag() {
        assert_eq!(split("hexagram:e2e"), ("hexagram", "e2e"));
        assert_eq!(
            split("a.example:5000/hexagram"),
            ("a.example:5000/hexagram", "latest")
        );
        assert_eq!(
            split("a.example:5000/hexagram:1"),
            ("a.example:5000/hexagram", "1")
        );
    }

    #[test]
    fn edges_accept_the_host_that_clients_use() {
        let scene = Scene::new(setting("http://node.example:30080/mcp"), "s".to_owned());
        let values = scene.values(true);
        assert_eq!(values["edge"]["allowedHosts"], json!(["node.example"]));
        assert_eq!(values["image"]["tag"], "e2e");
    }
}
