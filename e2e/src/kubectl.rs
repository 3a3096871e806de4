//! Kubernetes, asked and ordered through `kubectl`: what a user's hands do.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::command;
use crate::metrics::Metrics;
use crate::setting::Setting;

/// An order that Kubernetes only has to note.
const PROMPT: Duration = Duration::from_secs(60);
/// A rollout: every pod of a deployment, one after the other, with drains of up to 60 s.
const ROLLOUT: Duration = Duration::from_secs(300);

/// How a pod's admin server is asked.
const BY_WAY: &str = "by way of the API server: network policies have to let it in to port 9090, \
                      as networkPolicy.monitoring does in the release of the tests";

/// The three deployments of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Speaks to clients.
    Edge,
    /// Owns shards.
    Worker,
    /// Writes the shard map.
    Operator,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Edge, Self::Worker, Self::Operator];
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Edge => "edge",
            Self::Worker => "worker",
            Self::Operator => "operator",
        })
    }
}

/// A pod, as far as tests care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Of our roles the one it has.
    pub role: Role,
    /// Its name.
    pub name: String,
    /// Where it runs.
    pub node: String,
    /// Its address, once it has one.
    pub ip: String,
    /// Whether its container runs, and has something to say.
    pub is_running: bool,
    /// Whether it gets traffic.
    pub is_ready: bool,
    /// Whether it was told to end.
    pub is_ending: bool,
    /// How often its container was started again.
    pub restarts: u64,
}

/// The namespace of the tests.
#[derive(Debug, Clone)]
pub struct Kubectl {
    kubeconfig: PathBuf,
    namespace: String,
}

impl Kubectl {
    /// In this cluster and namespace.
    #[must_use]
    pub fn new(setting: &Setting) -> Self {
        Self {
            kubeconfig: setting.kubeconfig.clone(),
            namespace: setting.namespace.clone(),
        }
    }

    /// `kubectl` with these arguments, or another program that takes the same flags.
    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .arg(format!("--kubeconfig={}", self.kubeconfig.display()))
            .arg(format!("--namespace={}", self.namespace))
            .args(args);
        command
    }

    /// What `kubectl` says.
    ///
    /// # Errors
    /// When it fails.
    pub async fn run(&self, args: &[&str]) -> Result<String> {
        command::output(&mut self.command("kubectl", args), PROMPT).await
    }

    /// What `kubectl` says that waits for pods to come or to go.
    ///
    /// # Errors
    /// When it fails.
    pub async fn run_to_end(&self, args: &[&str]) -> Result<String> {
        command::output(&mut self.command("kubectl", args), ROLLOUT).await
    }

    /// What a program in a pod says on stdout, however it ends.
    ///
    /// # Errors
    /// When it says nothing, with what came on stderr.
    pub(crate) async fn exec(&self, pod: &str, words: &[&str]) -> Result<String> {
        let args = [&["exec", pod, "--"], words].concat();
        let ended = command::ended(&mut self.command("kubectl", &args), PROMPT).await?;
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        let why = String::from_utf8_lossy(&ended.stderr);
        ensure!(
            !said.is_empty(),
            "{} in {pod}: {}",
            words.join(" "),
            why.trim()
        );
        Ok(said)
    }

    /// A child that stays: `kubectl port-forward`.
    pub(crate) fn stay(&self, args: &[&str]) -> Result<Child> {
        let mut command = self.command("kubectl", args);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let child = command.kill_on_drop(true).spawn();
        child.with_context(|| format!("start kubectl {}", args.join(" ")))
    }

    /// What a pod shows at `/metrics`.
    ///
    /// # Errors
    /// When the API server does not reach it.
    pub async fn metrics(&self, pod: &str) -> Result<Metrics> {
        Ok(self.page(pod, "metrics").await?.into())
    }

    /// What a pod's admin server says at `/PAGE`.
    ///
    /// # Errors
    /// When the API server does not reach it.
    pub async fn page(&self, pod: &str, page: &str) -> Result<String> {
        let namespace = &self.namespace;
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:9090/proxy/{page}");
        let said = self.run(&["get", "--raw", &path]).await;
        said.with_context(|| format!("ask {pod} for /{page}, {BY_WAY}"))
    }

    /// What a pod says of itself at `/status`.
    ///
    /// # Errors
    /// When the API server does not reach it, or it says no JSON.
    pub async fn status(&self, pod: &str) -> Result<Value> {
        let status = self.page(pod, "status").await?;
        serde_json::from_str(&status).with_context(|| format!("read the status of {pod}"))
    }

    /// Starts to write what a pod says to a file, until it ends or the child is dropped.
    pub(crate) fn follow(&self, pod: &str, file: File) -> Result<Child> {
        let mut command = self.command("kubectl", &["logs", "--follow", "--timestamps", pod]);
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let child = command.kill_on_drop(true).spawn();
        child.with_context(|| format!("follow the log of {pod}"))
    }

    /// What `kubectl get ... -o json` says.
    ///
    /// # Errors
    /// When it fails.
    pub async fn get(&self, args: &[&str]) -> Result<Value> {
        let args = [&["get", "--output=json"], args].concat();
        serde_json::from_str(&self.run(&args).await?).context("read what kubectl said")
    }

    /// What `helm` says.
    ///
    /// # Errors
    /// When it fails.
    pub async fn helm(&self, args: &[&str]) -> Result<String> {
        command::output(&mut self.command("helm", args), ROLLOUT).await
    }

    /// The release's pods, those that are ending too.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn pods(&self) -> Result<Vec<Pod>> {
        Ok(Pod::all(&self.get(&["pods"]).await?))
    }

    /// `kubectl scale`.
    ///
    /// # Errors
    /// When it fails.
    pub async fn scale(&self, role: Role, replicas: usize) -> Result<()> {
        let replicas = format!("--replicas={replicas}");
        let done = self.run(&["scale", &deployment(role), &replicas]).await;
        done.map(|_| ())
    }

    /// `kubectl rollout restart`, to its end.
    ///
    /// # Errors
    /// When it does not come to its end.
    pub async fn restart(&self, role: Role) -> Result<()> {
        let deployment = deployment(role);
        self.run(&["rollout", "restart", &deployment]).await?;
        self.rolled_out(role).await
    }

    /// Waits until all pods of a role are those of its newest template.
    ///
    /// # Errors
    /// When that does not come.
    pub async fn rolled_out(&self, role: Role) -> Result<()> {
        let status = ["rollout", "status", &deployment(role)];
        self.run_to_end(&status).await.map(|_| ())
    }

    /// The nodes that run the control plane; a managed cluster shows none.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn control_plane(&self) -> Result<Vec<String>> {
        let label = "--selector=node-role.kubernetes.io/control-plane";
        let nodes = self.get(&["nodes", label]).await?;
        let nodes = nodes["items"].as_array().into_iter().flatten();
        let names = nodes.filter_map(|node| node["metadata"]["name"].as_str());
        Ok(names.map(str::to_owned).collect())
    }

    /// Deletes a pod without letting it end.
    ///
    /// # Errors
    /// When it cannot be deleted.
    pub async fn delete_now(&self, pod: &Pod) -> Result<()> {
        let args = ["delete", "pod", &pod.name, "--grace-period=0", "--force"];
        self.run(&args).await.map(|_| ())
    }
}

fn deployment(role: Role) -> String {
    format!("deployment/hexagram-{role}")
}

impl Pod {
    /// The release's pods in a list of objects.
    pub(crate) fn all(list: &Value) -> Vec<Self> {
        let items = list["items"].as_array().into_iter().flatten();
        let pods = items.filter(|item| item["kind"] == "Pod");
        pods.filter_map(Self::of).collect()
    }

    /// Nothing where it is none of the release's.
    fn of(pod: &Value) -> Option<Self> {
        let component = &pod["metadata"]["labels"]["app.kubernetes.io/component"];
        let role = Role::ALL
            .into_iter()
            .find(|role| *component == role.to_string())?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let status = &pod["status"];
        let conditions = status["conditions"].as_array().into_iter().flatten();
        let containers = status["containerStatuses"].as_array().into_iter().flatten();
        Some(Self {
            role,
            name: text(&pod["metadata"]["name"]),
            node: text(&pod["spec"]["nodeName"]),
            ip: text(&status["podIP"]),
            is_running: { containers.clone() }.any(|it| !it["state"]["running"].is_null()),
            is_ready: { conditions }.any(|it| it["type"] == "Ready" && it["status"] == "True"),
            is_ending: !pod["metadata"]["deletionTimestamp"].is_null(),
            restarts: containers
                .filter_map(|it| it["restartCount"].as_u64())
                .sum(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(component: &str) -> Value {
        let labels = json!({"app.kubernetes.io/component": component});
        json!({
            "kind": "Pod",
            "metadata": {"name": "a", "labels": labels, "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"nodeName": "node-1"},
            "status": {
                "podIP": "10.0.0.7",
                "conditions": [{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": "True"}],
                "containerStatuses": [{"restartCount": 2, "state": {"running": {}}}],
            },
        })
    }

    #[test]
    fn reads_the_pods_of_the_release_and_no_others() {
        let map = json!({"kind": "ShardMap", "metadata": {"name": "hexagram"}});
        let list = json!({"items": [pod("worker"), pod("valkey"), map]});
        let expected = Pod {
            role: Role::Worker,
            name: "a".to_owned(),
            node: "node-1".to_owned(),
            ip: "10.0.0.7".to_owned(),
            is_running: true,
            is_ready: true,
            is_ending: true,
            restarts: 2,
        };
        assert_eq!(Pod::all(&list), [expected]);
    }

    #[test]
    fn a_pod_that_is_not_scheduled_yet_is_not_ready() {
        let mut pod = pod("edge");
        pod["metadata"]["deletionTimestamp"] = Value::Null;
        (pod["spec"], pod["status"]) = (json!({}), json!({}));
        let pod = Pod::of(&pod).unwrap();
        assert!(!pod.is_ready && !pod.is_running && !pod.is_ending && pod.node.is_empty());
    }
}
