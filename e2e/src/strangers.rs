//! A pod that is none of the release's, and what network policies let it reach.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::finally::finally;
use crate::kubectl::Role;
use crate::scene::Scene;
use crate::wait;

/// The pod that asks, with no label that a policy of the release knows.
const STRANGER: &str = "stranger";
/// The pod that a policy of our own lets nobody in to.
const SECLUDED: &str = "secluded";
/// Where that one listens.
const PORT: u16 = 8080;
/// The label of what is ours, to be removed.
const OURS: &str = "hexagram-e2e/stranger";
/// Network plugins act on a new policy within seconds.
const TAKEN: Duration = Duration::from_secs(30);
/// Of a whole check, in seconds: a connection that nobody takes is given up after an eighth.
const PATIENCE: &str = "--timeout=24";

impl Scene {
    /// `work` while there is a stranger, and what is needed to see whether policies are enforced.
    ///
    /// # Errors
    /// When they do not come, the work fails, or they stay.
    pub async fn with_stranger<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let met = async {
            // A run that broke off may have left them, with a policy at work.
            self.remove_stranger().await?;
            let pods = [STRANGER, SECLUDED].map(|name| pod(name, &self.setting.image));
            self.apply_ours(&pods).await?;
            let wait = ["wait", "--for=condition=Ready", "--timeout=180s", "pod"];
            let wait = [&wait[..], &[STRANGER, SECLUDED]].concat();
            self.kubectl.run_to_end(&wait).await?;
            work.await
        };
        finally(met, self.remove_stranger()).await
    }

    async fn remove_stranger(&self) -> Result<()> {
        let kinds = "pods,networkpolicies.networking.k8s.io";
        let delete = ["delete", kinds, "--selector", OURS];
        self.kubectl.run_to_end(&delete).await.map(|_| ())
    }

    /// Whether somebody in this cluster keeps pods out where a policy says so. It can be asked
    /// once with each stranger.
    ///
    /// # Errors
    /// When the pod that a policy is to seclude is not reached without one.
    pub async fn enforces_policies(&self) -> Result<bool> {
        let secluded = self.kubectl.get(&["pod", SECLUDED]).await?;
        let secluded = secluded["status"]["podIP"].as_str();
        let secluded = secluded.context("the secluded pod has no address")?;
        self.stranger_is_let_in(secluded, PORT).await?;
        let of = json!({"app": SECLUDED});
        self.apply_ours(&[policy(SECLUDED, &of, &json!([]))])
            .await?;
        let shut = wait::until("a policy at work", TAKEN, async || {
            match self.stranger_reaches(secluded, PORT).await {
                Ok(true) => bail!("the stranger is let in"),
                seen => Ok(seen),
            }
        });
        // What could not be seen says nothing; who let it in all the time enforces nothing.
        match shut.await {
            Ok(seen) => seen.map(|reached| !reached),
            Err(_) => Ok(false),
        }
    }

    /// Whether somebody takes a connection of the stranger's, whatever is spoken there.
    ///
    /// # Errors
    /// When it cannot try.
    pub async fn stranger_reaches(&self, ip: &str, port: u16) -> Result<bool> {
        let ip: IpAddr = ip.parse().with_context(|| format!("read address `{ip}`"))?;
        let url = format!("http://{}/mcp", SocketAddr::new(ip, port));
        let check = ["hexagram", "check", &url, "--output=json", PATIENCE];
        let said = self.kubectl.exec(STRANGER, &check).await?;
        let report: Value = serde_json::from_str(&said).with_context(|| format!("read {said}"))?;
        is_connected(&report).with_context(|| format!("no word of a connection: {said}"))
    }

    /// Waits until the stranger reaches the workers' links, as one more policy says.
    ///
    /// # Errors
    /// When it does not.
    pub async fn let_stranger_in_to_links(&self, port: u16) -> Result<()> {
        let of = json!({
            "app.kubernetes.io/instance": "hexagram",
            "app.kubernetes.io/component": Role::Worker.to_string(),
        });
        let from = json!([{"podSelector": {"matchLabels": {"app": STRANGER}}}]);
        let ingress = json!([{"from": from, "ports": [{"port": port}]}]);
        self.apply_ours(&[policy("let-in", &of, &ingress)]).await?;
        let worker = self.pod(Role::Worker).await?;
        self.stranger_is_let_in(&worker.ip, port).await
    }

    async fn stranger_is_let_in(&self, ip: &str, port: u16) -> Result<()> {
        let what = format!("the stranger's way to {ip}, port {port}");
        wait::until(what, TAKEN, async || {
            let reached = self.stranger_reaches(ip, port).await?;
            ensure!(reached, "it is kept out");
            Ok(())
        })
        .await
    }

    async fn apply_ours(&self, objects: &[Value]) -> Result<()> {
        self.hand_in("apply", "strangers", objects).await
    }
}

/// Whether somebody took the connection, by the report of `hexagram check`.
fn is_connected(report: &Value) -> Option<bool> {
    match report["is_mcp"].as_bool()? {
        true => Some(true),
        false => report["problem"]["connected"].as_bool(),
    }
}

/// Both listen; namespaces that admit restricted pods alone admit them.
fn pod(name: &str, image: &str) -> Value {
    let serve = [
        "local",
        "--demo=tour",
        "--listen=0.0.0.0:8080",
        "--admin=0.0.0.0:9090",
        "--allowed-hosts=*",
    ];
    let container = json!({
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": serve,
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 9090}, "periodSeconds": 1},
    });
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(name),
        "spec": {
            "terminationGracePeriodSeconds": 5,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
        },
    })
}

/// Lets into the pods `of` these labels what `ingress` says.
fn policy(name: &str, of: &Value, ingress: &Value) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(name),
        "spec": {
            "podSelector": {"matchLabels": of},
            "policyTypes": ["Ingress"],
            "ingress": ingress,
        },
    })
}

fn metadata(name: &str) -> Value {
    json!({"name": name, "labels": {"app": name, OURS: "yes"}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_takes_a_connection_is_reached_whatever_it_speaks() {
        let report = |problem: Value| json!({"is_mcp": problem.is_null(), "problem": problem});
        let problem = |connected: bool| report(json!({"connected": connected, "reachable": false}));
        assert_eq!(is_connected(&report(Value::Null)), Some(true));
        assert_eq!(is_connected(&problem(true)), Some(true));
        assert_eq!(is_connected(&problem(false)), Some(false));
        assert_eq!(is_connected(&report(json!({"reachable": false}))), None);
        assert_eq!(is_connected(&json!({})), None);
    }

    #[test]
    fn what_is_ours_has_its_label_and_none_of_the_release() {
        let labels = json!({"app": "stranger", "hexagram-e2e/stranger": "yes"});
        assert_eq!(pod(STRANGER, "image")["metadata"]["labels"], labels);
        let policy = policy(SECLUDED, &json!({}), &json!([]));
        assert_eq!(policy["metadata"]["labels"][OURS], "yes");
    }
}
