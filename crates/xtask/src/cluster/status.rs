//! What `cargo xtask cluster status` shows.

use std::fmt;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process;
use crate::progress::Task;

use super::image::IMAGE;
use super::kind::{Kind, NAME};

/// The cluster as far as it is there.
pub(super) enum Status {
    Absent,
    Present {
        kubeconfig: String,
        nodes: Vec<Node>,
        releases: Vec<String>,
    },
}

/// One node of it.
pub(super) struct Node {
    name: String,
    ready: bool,
    has_image: bool,
}

impl Status {
    /// Asks kind, Docker, Kubernetes and Helm.
    pub(super) fn of(kind: &Kind<'_>, task: &mut Task) -> Result<Self> {
        if !kind.exists()? {
            return Ok(Self::Absent);
        }
        kind.export(task)?;
        let mut get = kind.kubectl();
        get.args(["get", "nodes", "--output=json"]);
        let known = json(get).context("ask for the nodes")?;
        let mut list = kind.helm();
        list.args(["list", "--all-namespaces", "--output=json"]);
        Ok(Self::Present {
            kubeconfig: kind.kubeconfig().display().to_string(),
            nodes: nodes(kind.nodes()?, &known),
            releases: releases(&json(list)?),
        })
    }
}

fn json(command: Command) -> Result<Value> {
    let output = process::output(command)?;
    serde_json::from_str(&output).context("read what it said")
}

fn nodes(names: Vec<String>, known: &Value) -> Vec<Node> {
    let node = |name: String| Node {
        ready: is_ready(known, &name),
        has_image: has_image(&name),
        name,
    };
    names.into_iter().map(node).collect()
}

fn is_ready(known: &Value, name: &str) -> bool {
    let items = known["items"].as_array().into_iter().flatten();
    let node = items
        .filter(|item| item["metadata"]["name"] == name)
        .flat_map(|item| item["status"]["conditions"].as_array());
    let is_ready =
        |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
    node.flatten().any(is_ready)
}

/// A node tells Kubernetes of its images late: its container knows at once.
fn has_image(node: &str) -> bool {
    let mut list = Command::new("docker");
    list.args(["exec", node, "ctr", "--namespace=k8s.io", "images", "list"]);
    list.arg("--quiet");
    let full = format!("docker.io/library/{IMAGE}");
    process::output(list).is_ok_and(|images| images.lines().any(|line| line == full))
}

/// `NAME in NAMESPACE: revision 1, deployed` of each release of our chart.
fn releases(list: &Value) -> Vec<String> {
    let text = |release: &Value, member: &str| {
        let value = &release[member];
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let ours = |release: &&Value| text(release, "chart").starts_with("hexagram-");
    let line = |release: &Value| {
        let [name, namespace, revision, status] =
            ["name", "namespace", "revision", "status"].map(|member| text(release, member));
        format!("{name} in {namespace}: revision {revision}, {status}")
    };
    let list = list.as_array().into_iter().flatten();
    list.filter(ours).map(line).collect()
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Present {
            kubeconfig,
            nodes,
            releases,
        } = self
        else {
            return writeln!(
                f,
                "cluster   {NAME} is not there: `cargo xtask cluster up` makes it"
            );
        };
        writeln!(f, "cluster   {NAME}, KUBECONFIG={kubeconfig}")?;
        for node in nodes {
            let ready = if node.ready { "ready" } else { "NOT READY" };
            let image = if node.has_image { "has" } else { "lacks" };
            writeln!(f, "node      {}: {ready}, {image} {IMAGE}", node.name)?;
        }
        for release in releases {
            writeln!(f, "release   {release}")?;
        }
        if releases.is_empty() {
            writeln!(f, "release   none")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_releases_of_the_chart_are_shown() {
        let list = json!([
            {"name": "hexagram", "namespace": "default", "revision": "2", "status": "deployed", "chart": "hexagram-0.1.0"},
            {"name": "web", "namespace": "default", "revision": 1, "status": "deployed", "chart": "nginx-1.0.0"},
        ]);
        assert_eq!(
            releases(&list),
            ["hexagram in default: revision 2, deployed"]
        );
    }

    #[test]
    fn a_node_is_ready_when_kubernetes_says_so() {
        let node = |name, status| {
            let condition = json!({"type": "Ready", "status": status});
            json!({"metadata": {"name": name}, "status": {"conditions": [condition]}})
        };
        let known = json!({"items": [node("a", "True"), node("b", "Unknown")]});
        assert!(is_ready(&known, "a"));
        assert!(!is_ready(&known, "b"));
        assert!(!is_ready(&known, "c"));
    }

    #[test]
    fn shows_what_is_there() {
        let node = |name: &str, ready| Node {
            name: name.to_owned(),
            ready,
            has_image: ready,
        };
        let status = Status::Present {
            kubeconfig: "/k".to_owned(),
            nodes: vec![node("a", true), node("b", false)],
            releases: Vec::new(),
        };
        let expected = "\
            cluster   hexagram, KUBECONFIG=/k\n\
            node      a: ready, has hexagram:e2e\n\
            node      b: NOT READY, lacks hexagram:e2e\n\
            release   none\n";
        assert_eq!(status.to_string(), expected);
        assert!(Status::Absent.to_string().contains("cluster up"));
    }
}
