//! What can be seen of a cluster after something went wrong, kept for people.

use std::path::{Path, PathBuf};

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

/// Where the evidence of a scenario is.
pub(crate) fn folder(scene: &Scene) -> PathBuf {
    scene.setting.folder.join("evidence").join(&scene.name)
}

/// Keeps objects and events there. What cannot be had is written down as the error that
/// it is.
pub(crate) async fn gather(scene: &Scene) {
    for (file, question) in QUESTIONS {
        keep(scene, &folder(scene).join(file), question).await;
    }
}

async fn keep(scene: &Scene, file: &Path, question: &[&str]) {
    let answer = scene.kubectl.run(question).await;
    let answer = answer.unwrap_or_else(|error| format!("{error:#}\n"));
    if let Err(error) = std::fs::write(file, answer) {
        eprintln!("no evidence: write {}: {error}", file.display());
    }
}
