//! Nodes that are containers of this machine, as kind makes them: broken from outside.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::Command;

use crate::command;
use crate::kubectl::Pod;

const PROMPT: Duration = Duration::from_secs(30);

/// Prints the process ids of a pod's hexagram: the runtime gives each container its pod's
/// name as HOSTNAME, and only ours is called so.
const FIND: &str = r#"
for process in /proc/[0-9]*; do
    [ "$(cat "$process/comm" 2>/dev/null)" = hexagram ] || continue
    tr '\0' '\n' < "$process/environ" | grep -qx "HOSTNAME=$0" && echo "${process#/proc/}"
done
exit 0
"#;

/// Whether the pod's node is a container here.
pub(crate) async fn can_break(pod: &Pod) -> bool {
    let mut docker = Command::new("docker");
    docker.args(["container", "inspect", &pod.node]);
    command::output(&mut docker, PROMPT).await.is_ok()
}

/// Kills the pod's process, which gets no time to say goodbye: its container is started
/// again where it was.
///
/// # Errors
/// When the node or the process is not found.
pub(crate) async fn kill(pod: &Pod) -> Result<()> {
    let found = exec(&pod.node, &["sh", "-c", FIND, &pod.name]).await?;
    let process = found.lines().next();
    let process = process.with_context(|| format!("no process of {} on {}", pod.name, pod.node))?;
    exec(&pod.node, &["kill", "-9", process]).await.map(|_| ())
}

async fn exec(node: &str, words: &[&str]) -> Result<String> {
    let mut docker = Command::new("docker");
    docker.args(["exec", node]).args(words);
    command::output(&mut docker, PROMPT).await
}
