//! What happens to a cluster: processes die, machines lose power, ways between them are
//! cut, the control plane is away.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::time::{Instant, sleep};

use crate::finally::finally;
use crate::forward::Forward;
use crate::kubectl::{Pod, Role};
use crate::scene::Scene;
use crate::{nodes, probe, wait};

/// A machine or a part of the control plane comes and goes within that.
const MACHINE: Duration = Duration::from_secs(180);
/// Where an edge listens for clients.
const CLIENTS: u16 = 8080;
/// Between two rounds of fresh clients.
const PAUSE: Duration = Duration::from_millis(100);
/// Answers when the API server does.
const READY: [&str; 4] = ["get", "--raw", "/readyz", "--request-timeout=5s"];

impl Scene {
    /// Whether a pod's node is a container of this machine, which can be entered.
    pub async fn can_kill(&self, pod: &Pod) -> bool {
        nodes::can_break(&pod.node).await
    }

    /// A node of the control plane that can be entered.
    ///
    /// # Errors
    /// When nodes cannot be listed.
    pub async fn control_plane(&self) -> Result<Option<String>> {
        for node in self.kubectl.control_plane().await? {
            if nodes::can_break(&node).await {
                return Ok(Some(node));
            }
        }
        Ok(None)
    }

    /// Brings edges and workers to as many nodes as there are of them, if they are not:
    /// what was before may have left them on one. False where nodes are too few.
    ///
    /// # Errors
    /// When they do not come to rest.
    pub async fn spread(&self) -> Result<bool> {
        if self.is_spread().await? {
            return Ok(true);
        }
        for role in [Role::Edge, Role::Worker] {
            self.kubectl.restart(role).await?;
        }
        self.rest().await?;
        self.is_spread().await
    }

    async fn is_spread(&self) -> Result<bool> {
        for role in [Role::Edge, Role::Worker] {
            let pods = self.serving(role).await?;
            let nodes: BTreeSet<_> = pods.iter().map(|pod| &pod.node).collect();
            if nodes.len() < pods.len() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A node that runs a worker and not the operator: with the operator on it, nothing
    /// happens until Kubernetes gives the node up, minutes later.
    ///
    /// # Errors
    /// When there is none.
    pub async fn spare_node(&self) -> Result<String> {
        let operator = self.pod(Role::Operator).await?;
        let workers = self.serving(Role::Worker).await?;
        let spare = workers.into_iter().find(|pod| pod.node != operator.node);
        let spare = spare.context("every worker's node runs the operator")?;
        Ok(spare.node)
    }

    /// `work` while a node is without power. When it has it back, its pods may not be.
    ///
    /// # Errors
    /// When the work fails or the node does not come back.
    pub async fn without_power<T>(
        &self,
        node: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let outage = async {
            nodes::power_off(node).await?;
            work.await
        };
        let back = async {
            nodes::power_on(node).await?;
            self.node_ready(node, true).await
        };
        finally(outage, back).await
    }

    /// Waits until Kubernetes thinks of a node that it is ready, or not.
    ///
    /// # Errors
    /// When it does not.
    pub async fn node_ready(&self, node: &str, ready: bool) -> Result<()> {
        wait::until(format!("{node} ready: {ready}"), MACHINE, async || {
            let node = self.kubectl.get(&["node", node]).await?;
            let conditions = node["status"]["conditions"].as_array();
            let mut conditions = conditions.into_iter().flatten();
            let is = conditions.any(|it| it["type"] == "Ready" && it["status"] == "True");
            ensure!(is == ready, "it is ready: {is}");
            Ok(())
        })
        .await
    }

    /// Cuts the way between two pods for so long, at the node of the first.
    ///
    /// # Errors
    /// When it is not cut, or not mended.
    pub async fn without_way(&self, a: &Pod, b: &Pod, length: Duration) -> Result<()> {
        let cut = async {
            nodes::cut(&a.node, &a.ip, &b.ip).await?;
            sleep(length).await;
            Ok(())
        };
        finally(cut, nodes::mend(&a.node, &a.ip, &b.ip)).await
    }

    /// `work` while there is no API server.
    ///
    /// # Errors
    /// When it does not stop, the work fails, or it does not come back.
    pub async fn without_api_server<T>(
        &self,
        node: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let outage = async {
            nodes::stop_api_server(node).await?;
            let away = async || match self.kubectl.run(&READY).await {
                Ok(_) => bail!("it answers"),
                Err(_) => Ok(()),
            };
            wait::until("the end of the API server", MACHINE, away).await?;
            work.await
        };
        let back = async {
            nodes::start_api_server(node).await?;
            let answers = async || self.kubectl.run(&READY).await.map(|_| ());
            wait::until("the API server", MACHINE, answers).await
        };
        finally(outage, back).await
    }

    /// Waits until fresh clients of one edge are served; the time from `since` to then.
    ///
    /// # Errors
    /// When that takes longer than `limit`.
    pub async fn served_by(&self, edge: &Pod, since: Instant, limit: Duration) -> Result<Duration> {
        let what = format!("full service from {}", edge.name);
        wait::until_every(PAUSE, what, limit, async || {
            // One for each round: kubectl gives up when a connection through it breaks.
            let forward = Forward::to(&self.kubectl, edge, CLIENTS).await?;
            let began = since.elapsed();
            Ok(began + probe::round(&forward.authority).await?)
        })
        .await
    }

    /// As [`Scene::full_service`], within a limit of one's own.
    ///
    /// # Errors
    /// When service is not back by then.
    pub async fn full_service_within(&self, limit: Duration, since: Instant) -> Result<Duration> {
        probe::full_service(self.setting.authority(), since, limit).await
    }
}
