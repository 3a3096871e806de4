//! The installed release that scenarios change and break.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::kubectl::{Kubectl, Pod, Role};
use crate::load::Load;
use crate::setting::Setting;
use crate::shards::Shards;
use crate::{nodes, probe, wait};

/// What is installed, and what each scenario leaves.
const WORKERS: usize = 2;
const EDGES: usize = 2;
/// Objects and pods come to rest by then, or never: drains are within it.
const REST: Duration = Duration::from_secs(300);
/// Of `helm install` until the first answer.
const FIRST_ANSWER: Duration = Duration::from_secs(180);
/// Longer than any bar: the report shows by how much one was missed.
const SERVICE: Duration = Duration::from_secs(90);

/// A release and who looks at it.
#[derive(Debug)]
pub struct Scene {
    /// Where we are.
    pub setting: Setting,
    /// Orders and questions.
    pub kubectl: Kubectl,
    /// The scenario's name, for files.
    pub(crate) name: String,
}

impl Scene {
    pub(crate) fn new(setting: Setting, name: String) -> Self {
        Self {
            kubectl: Kubectl::new(&setting),
            setting,
            name,
        }
    }

    /// Installs the release where nothing is; the time until a call was answered.
    ///
    /// # Errors
    /// When Helm refuses or nobody answers.
    pub async fn install(&self) -> Result<Duration> {
        self.uninstall().await?;
        let install_kinds = self.has_no_kinds().await?;
        let values = self.setting.folder.join("values.json");
        tokio::fs::write(&values, self.values(install_kinds).to_string()).await?;
        let (values, chart) = (values.display().to_string(), self.setting.chart());
        let chart = chart.display().to_string();
        let start = Instant::now();
        let install = [
            "install",
            "hexagram",
            &chart,
            "--create-namespace",
            "--values",
            &values,
        ];
        self.kubectl.helm(&install).await?;
        probe::first_answer(self.setting.authority(), FIRST_ANSWER).await?;
        Ok(start.elapsed())
    }

    /// What is installed would be in the way. Workers would wait for an operator to take
    /// their shards, and it is gone as well.
    async fn uninstall(&self) -> Result<()> {
        let args = ["uninstall", "hexagram", "--ignore-not-found"];
        self.kubectl.helm(&args).await?;
        let pods = ["delete", "pods", "--all", "--grace-period=0", "--force"];
        self.kubectl.run(&pods).await.map(|_| ())
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

    /// Installed if it was not, and at rest.
    ///
    /// # Errors
    /// When it does not come to rest.
    pub async fn installed(&self) -> Result<()> {
        let found = self
            .kubectl
            .helm(&["list", "--short", "--deployed"])
            .await?;
        if !found.lines().any(|name| name == "hexagram") {
            self.install().await?;
        }
        self.rest().await.map(|_| ())
    }

    fn values(&self, install_kinds: bool) -> Value {
        let image = &self.setting.image;
        let (repository, tag) = split(image);
        let host = self.setting.authority();
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        // Nodes share one machine: requests only have to fit.
        let resources = json!({"requests": {"cpu": "10m", "memory": "32Mi"}});
        json!({
            "image": {"repository": repository, "tag": tag},
            "service": {"type": "NodePort", "nodePort": 30080},
            "edge": {"replicas": EDGES, "allowedHosts": [host], "resources": resources},
            "worker": {"replicas": WORKERS, "resources": resources},
            "operator": {"resources": resources},
            "demo": "tour",
            "crds": {"install": install_kinds},
        })
    }

    /// Waits until what was installed is all there, each worker owns shards and none
    /// moves; the shard map then.
    ///
    /// # Errors
    /// With what is still missing.
    pub async fn rest(&self) -> Result<Shards> {
        self.rest_with(WORKERS).await
    }

    /// As [`Scene::rest`], with so many workers.
    ///
    /// # Errors
    /// With what is still missing.
    pub async fn rest_with(&self, workers: usize) -> Result<Shards> {
        wait::until("everything at rest", REST, async || {
            // One question for all: each costs a fifth of a second of a core.
            let all = self.kubectl.get(&["pods,shardmaps.hexagram.dev"]).await?;
            let pods = Pod::all(&all);
            serve(&pods, Role::Operator, 1)?;
            serve(&pods, Role::Edge, EDGES)?;
            let workers = serve(&pods, Role::Worker, workers)?;
            let shards = Shards::of(&all)?;
            shards.rest_on(&workers)?;
            Ok(shards)
        })
        .await
    }

    /// One pod of a role.
    ///
    /// # Errors
    /// When there is none.
    pub async fn pod(&self, role: Role) -> Result<Pod> {
        let pods = self.kubectl.pods().await?;
        let serves = |pod: &Pod| pod.role == role && pod.is_ready && !pod.is_ending;
        let pod = pods.into_iter().find(serves);
        pod.with_context(|| format!("no {role} is ready"))
    }

    /// The load, begun.
    ///
    /// # Errors
    /// When it does not begin.
    pub async fn load(&self) -> Result<Load> {
        Load::start(&self.setting, &self.name).await
    }

    /// Kills a pod's process and waits until Kubernetes has started it again; full
    /// service was back after so long.
    ///
    /// # Errors
    /// When it cannot be killed or does not come back.
    pub async fn kill(&self, pod: &Pod) -> Result<Duration> {
        let start = Instant::now();
        nodes::kill(pod).await?;
        let back = self.full_service(start).await?;
        wait::until("a restarted container", REST, async || {
            let pods = self.kubectl.pods().await?;
            let now = pods.iter().find(|now| now.name == pod.name);
            let now = now.with_context(|| format!("{} is gone", pod.name))?;
            ensure!(
                now.restarts > pod.restarts,
                "{} has not restarted",
                pod.name
            );
            Ok(())
        })
        .await?;
        Ok(back)
    }

    /// Whether the pod's node is a container of this machine, which can be entered.
    pub async fn can_kill(&self, pod: &Pod) -> bool {
        nodes::can_break(pod).await
    }

    /// Deletes a pod at once; full service was back after so long.
    ///
    /// # Errors
    /// When it cannot be deleted or service does not come back.
    pub async fn delete(&self, pod: &Pod) -> Result<Duration> {
        let start = Instant::now();
        self.kubectl.delete_now(pod).await?;
        self.full_service(start).await
    }

    async fn full_service(&self, since: Instant) -> Result<Duration> {
        probe::full_service(self.setting.authority(), since, SERVICE).await
    }

    /// Who leads the operators.
    ///
    /// # Errors
    /// When nobody holds the lease.
    pub async fn leader(&self) -> Result<String> {
        let leases = self.kubectl.get(&["leases.coordination.k8s.io"]).await?;
        let holder = &leases["items"][0]["spec"]["holderIdentity"];
        let holder = holder.as_str().filter(|holder| !holder.is_empty());
        holder.map(str::to_owned).context("nobody holds the lease")
    }

    /// Waits until an operator leads that is not `pod`; how long that took.
    ///
    /// # Errors
    /// When none does.
    pub async fn next_leader(&self, pod: &Pod, limit: Duration) -> Result<Duration> {
        let start = Instant::now();
        wait::until("another leader", limit, async || {
            let leader = self.leader().await?;
            ensure!(
                !leader.starts_with(&pod.name),
                "{leader} still holds the lease"
            );
            Ok(start.elapsed())
        })
        .await
    }
}

/// The pods of a role, if they are as many as that, ready, and none is ending.
fn serve(pods: &[Pod], role: Role, count: usize) -> Result<Vec<&Pod>> {
    let pods: Vec<_> = pods.iter().filter(|pod| pod.role == role).collect();
    let serve = pods.iter().filter(|pod| pod.is_ready && !pod.is_ending);
    let (serve, all) = (serve.count(), pods.len());
    ensure!(
        serve == count && all == count,
        "{serve} of {all} {role} pods are ready and stay, not {count}"
    );
    Ok(pods)
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
