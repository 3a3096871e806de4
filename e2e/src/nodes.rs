//! Nodes that are containers of this machine, as kind makes them: broken from outside.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::Command;

use crate::command;

const PROMPT: Duration = Duration::from_secs(30);

/// Prints the ids of a program's processes in a pod: a container's host name is its pod's.
const FIND: &str = r#"
for process in /proc/[0-9]*; do
    [ "$(cat "$process/comm" 2>/dev/null)" = "$1" ] || continue
    id=${process#/proc/}
    [ "$(nsenter --target "$id" --uts hostname)" = "$0" ] && echo "$id"
done
exit 0
"#;

/// Where the kubelet looks for what it runs without an API server, and a place beside it.
const RUNS: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";
const RESTS: &str = "/etc/kubernetes/kube-apiserver.yaml";

/// Whether the node is a container here.
pub(crate) async fn can_break(node: &str) -> bool {
    docker(&["container", "inspect", node]).await.is_ok()
}

/// Kills a pod's process, which gets no time to say goodbye: its container is started
/// again where it was.
///
/// # Errors
/// When the node or the process is not found.
pub(crate) async fn kill(node: &str, pod: &str, program: &str) -> Result<()> {
    let found = exec(node, &["sh", "-c", FIND, pod, program]).await?;
    let process = found.lines().next();
    let process = process.with_context(|| format!("no {program} of {pod} on {node}"))?;
    exec(node, &["kill", "-9", process]).await.map(|_| ())
}

/// The machine loses its power.
///
/// # Errors
/// When there is no such container.
pub(crate) async fn power_off(node: &str) -> Result<()> {
    docker(&["kill", node]).await.map(|_| ())
}

/// And gets it back.
///
/// # Errors
/// When the container does not start.
pub(crate) async fn power_on(node: &str) -> Result<()> {
    docker(&["start", node]).await.map(|_| ())
}

/// Drops what this node's pod at `ip` and the addresses of `cidr` send each other, as if
/// the way between them was gone: nobody is told.
///
/// # Errors
/// When the node takes no such rule.
pub(crate) async fn cut(node: &str, ip: &str, cidr: &str) -> Result<()> {
    filter(node, "--insert", ip, cidr).await
}

/// Takes back what [`cut`] did.
///
/// # Errors
/// When the rules are not there.
pub(crate) async fn mend(node: &str, ip: &str, cidr: &str) -> Result<()> {
    filter(node, "--delete", ip, cidr).await
}

async fn filter(node: &str, how: &str, ip: &str, cidr: &str) -> Result<()> {
    for (from, to) in [(ip, cidr), (cidr, ip)] {
        let rule = ["--source", from, "--destination", to, "--jump", "DROP"];
        let iptables = ["iptables", "--wait", how, "FORWARD"];
        exec(node, &[&iptables[..], &rule].concat()).await?;
    }
    Ok(())
}

/// Has the kubelet of a node of the control plane end the API server.
///
/// # Errors
/// When it is not run in that way.
pub(crate) async fn stop_api_server(node: &str) -> Result<()> {
    exec(node, &["mv", RUNS, RESTS]).await.map(|_| ())
}

/// Has it start the API server again.
///
/// # Errors
/// When it was not stopped.
pub(crate) async fn start_api_server(node: &str) -> Result<()> {
    exec(node, &["mv", RESTS, RUNS]).await.map(|_| ())
}

async fn exec(node: &str, words: &[&str]) -> Result<String> {
    docker(&[&["exec", node], words].concat()).await
}

/// What `docker` says.
///
/// # Errors
/// When it is not there, or fails.
pub(crate) async fn docker(words: &[&str]) -> Result<String> {
    let mut docker = Command::new("docker");
    docker.args(words);
    command::output(&mut docker, PROMPT).await
}
