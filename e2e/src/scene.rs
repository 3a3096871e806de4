//! The installed release that scenarios change and break.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::kubectl::{Kubectl, Pod, Role};
use crate::load::{Drive, Load};
use crate::metrics::Metrics;
use crate::setting::Setting;
use crate::shards::Shards;
use crate::{nodes, wait};

/// Objects and pods come to rest by then, or never: drains are within it.
const REST: Duration = Duration::from_secs(300);
/// What our pods run.
const PROGRAM: &str = "hexagram";
/// Longer than any bar: the report shows by how much one was missed.
const SERVICE: Duration = Duration::from_secs(90);

/// How many pods of each role there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Edges.
    pub edges: usize,
    /// Workers.
    pub workers: usize,
    /// Operators, of which one leads.
    pub operators: usize,
}

impl Default for Size {
    /// What is installed, and what each scenario leaves.
    fn default() -> Self {
        Self {
            edges: 2,
            workers: 2,
            operators: 1,
        }
    }
}

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

    /// Waits until what was installed is all there, each worker owns shards and none
    /// moves; the shard map then.
    ///
    /// # Errors
    /// With what is still missing.
    pub async fn rest(&self) -> Result<Shards> {
        self.rest_as(Size::default()).await
    }

    /// As [`Scene::rest`], with so many workers.
    ///
    /// # Errors
    /// With what is still missing.
    pub async fn rest_with(&self, workers: usize) -> Result<Shards> {
        let size = Size::default();
        self.rest_as(Size { workers, ..size }).await
    }

    /// As [`Scene::rest`], with so many of each.
    ///
    /// # Errors
    /// With what is still missing.
    pub async fn rest_as(&self, size: Size) -> Result<Shards> {
        wait::until("everything at rest", REST, async || {
            // One question for all: each costs a fifth of a second of a core.
            let all = self.kubectl.get(&["pods,shardmaps.hexagram.dev"]).await?;
            let pods = Pod::all(&all);
            serve(&pods, Role::Operator, size.operators)?;
            serve(&pods, Role::Edge, size.edges)?;
            let workers = serve(&pods, Role::Worker, size.workers)?;
            let shards = Shards::of(&all)?;
            shards.rest_on(&workers)?;
            Ok(shards)
        })
        .await
    }

    /// Waits until the operator has written the shard map after this version of it.
    ///
    /// # Errors
    /// When it does not.
    pub async fn rewritten(&self, version: u64) -> Result<()> {
        wait::until("another version of the shard map", REST, async || {
            let maps = self.kubectl.get(&["shardmaps.hexagram.dev"]).await?;
            let now = Shards::of(&maps)?.version;
            ensure!(now > version, "it is {now} still");
            Ok(())
        })
        .await
    }

    /// Has kubectl `apply` or `create` these objects, from a file of this name beside the
    /// report.
    ///
    /// # Errors
    /// When they are refused.
    pub async fn hand_in(&self, order: &str, name: &str, objects: &[Value]) -> Result<()> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        let file = self.setting.folder.join(format!("{name}.json"));
        tokio::fs::write(&file, list.to_string()).await?;
        let file = format!("--filename={}", file.display());
        self.kubectl.run(&[order, &file]).await.map(|_| ())
    }

    /// Waits until no pod of a role is left.
    ///
    /// # Errors
    /// When one stays.
    pub async fn gone(&self, role: Role) -> Result<()> {
        wait::until(format!("no {role}"), REST, async || {
            let pods = self.kubectl.pods().await?;
            serve(&pods, role, 0).map(|_| ())
        })
        .await
    }

    /// One pod of a role.
    ///
    /// # Errors
    /// When there is none.
    pub async fn pod(&self, role: Role) -> Result<Pod> {
        let pods = self.serving(role).await?;
        let pod = pods.into_iter().next();
        pod.with_context(|| format!("no {role} is ready"))
    }

    /// The pods of a role that are ready and stay.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn serving(&self, role: Role) -> Result<Vec<Pod>> {
        let mut pods = self.kubectl.pods().await?;
        pods.retain(|pod| pod.role == role && pod.is_ready && !pod.is_ending);
        Ok(pods)
    }

    /// Waits until the edges have so many exchanges under way.
    ///
    /// # Errors
    /// With how many they have.
    pub async fn running(&self, exchanges: u64) -> Result<()> {
        wait::until("exchanges", REST, async || {
            let mut all = 0;
            for edge in self.serving(Role::Edge).await? {
                all += in_flight(&self.kubectl.status(&edge.name).await?);
            }
            ensure!(all >= exchanges, "{all} run, not {exchanges}");
            Ok(())
        })
        .await
    }

    /// The load, begun.
    ///
    /// # Errors
    /// When it does not begin.
    pub async fn load(&self) -> Result<Load> {
        Load::start(&self.setting, &self.name).await
    }

    /// Another load, begun.
    ///
    /// # Errors
    /// When it does not begin.
    pub async fn load_as(&self, drive: &Drive) -> Result<Load> {
        Load::start_as(&self.setting, &self.name, drive).await
    }

    /// Kills a pod's process.
    ///
    /// # Errors
    /// When it is not found.
    pub async fn crash(&self, pod: &Pod) -> Result<()> {
        nodes::kill(&pod.node, &pod.name, PROGRAM).await
    }

    /// Kills a pod's process and waits until Kubernetes has started it again; full
    /// service was back after so long.
    ///
    /// # Errors
    /// When it cannot be killed or does not come back.
    pub async fn kill(&self, pod: &Pod) -> Result<Duration> {
        let start = Instant::now();
        self.crash(pod).await?;
        let back = self.full_service(start).await?;
        self.restarted(pod).await?;
        Ok(back)
    }

    /// Waits until Kubernetes has started a pod's process again that was killed.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn restarted(&self, pod: &Pod) -> Result<()> {
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
        .await
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

    /// Waits until fresh clients of every kind are served; the time from `since` to then.
    ///
    /// # Errors
    /// When that takes much longer than any bar.
    pub async fn full_service(&self, since: Instant) -> Result<Duration> {
        self.full_service_within(SERVICE, since).await
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

    /// The operator that leads.
    ///
    /// # Errors
    /// When none does.
    pub async fn leading(&self) -> Result<Pod> {
        let (leader, operators) = (self.leader().await?, self.serving(Role::Operator).await?);
        let leading = operators
            .into_iter()
            .find(|it| leader.starts_with(&it.name));
        leading.with_context(|| format!("{leader} leads and is not ready"))
    }

    /// What the operator that leads shows.
    ///
    /// # Errors
    /// When none leads, or it is not reached.
    pub async fn control_metrics(&self) -> Result<Metrics> {
        self.kubectl.metrics(&self.leading().await?.name).await
    }

    /// Waits until an operator leads.
    ///
    /// # Errors
    /// When none does.
    pub async fn led(&self) -> Result<Pod> {
        let leads = async || self.leading().await;
        wait::until("an operator that leads", REST, leads).await
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

/// What an edge's links carry, by its status.
fn in_flight(status: &Value) -> u64 {
    let links = status["links"].as_array().into_iter().flatten();
    links.filter_map(|link| link["in_flight"].as_u64()).sum()
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
