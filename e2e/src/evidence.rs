//! What can be seen of a cluster after something went wrong, kept for people.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::scene::Scene;

/// What is asked, and the file for the answer.
const QUESTIONS: [(&str, &[&str]); 5] = [
    ("pods.txt", &["get", "pods", "--output=wide"]),
    (
        "describe.txt",
        &["describe", "pods,deployments,services,leases"],
    ),
    ("events.txt", &["get", "events", "--sort-by=.lastTimestamp"]),
    (
        "shardmap.yaml",
        &["get", "shardmaps.hexagram.dev", "--output=yaml"],
    ),
    ("nodes.txt", &["describe", "nodes"]),
];

/// Keeps objects, events and logs in a folder, and gives that. What cannot be had is
/// written down as the error that it is.
pub(crate) async fn gather(scene: &Scene) -> PathBuf {
    let folder = scene.setting.folder.join("evidence").join(&scene.name);
    if let Err(error) = std::fs::create_dir_all(&folder) {
        eprintln!("no evidence: create {}: {error}", folder.display());
        return folder;
    }
    for (file, question) in QUESTIONS {
        keep(scene, &folder.join(file), question).await;
    }
    for pod in pods(scene).await {
        logs(scene, &folder, &pod).await;
    }
    folder
}

/// The names of all pods, also of those that our labels do not find.
async fn pods(scene: &Scene) -> Vec<String> {
    let list = scene.kubectl.get(&["pods"]).await.unwrap_or_default();
    let items = list["items"].as_array().into_iter().flatten();
    let name = |pod: &Value| pod["metadata"]["name"].as_str().map(str::to_owned);
    items.filter_map(name).collect()
}

/// What the pod says, and what it said before its container was started again.
async fn logs(scene: &Scene, folder: &Path, pod: &str) {
    let logs = ["logs", pod, "--all-containers", "--timestamps"];
    keep(scene, &folder.join(format!("{pod}.log")), &logs).await;
    let previous = [&logs[..], &["--previous"]].concat();
    keep(
        scene,
        &folder.join(format!("{pod}.previous.log")),
        &previous,
    )
    .await;
}

async fn keep(scene: &Scene, file: &Path, question: &[&str]) {
    let answer = scene.kubectl.run(question).await;
    let answer = answer.unwrap_or_else(|error| format!("{error:#}\n"));
    if let Err(error) = std::fs::write(file, answer) {
        eprintln!("no evidence: write {}: {error}", file.display());
    }
}
