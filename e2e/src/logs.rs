//! What every pod of a scenario says, kept while it says it: most of those that tell
//! something are gone when the scenario ends.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::Child;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::kubectl::{Kubectl, Pod};

/// A pod that comes and goes sooner than that is missed.
const LOOK: Duration = Duration::from_secs(2);

/// Follows pods until it is dropped.
#[derive(Debug)]
pub(crate) struct Logs {
    following: JoinHandle<()>,
}

impl Logs {
    /// Follows the pods of the release into files of `folder`: `POD.log`, and `POD.N.log`
    /// after its Nth restart.
    pub(crate) fn follow(kubectl: Kubectl, folder: PathBuf) -> Self {
        Self {
            following: tokio::spawn(follow(kubectl, folder)),
        }
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        // The children are its, and are killed with it.
        self.following.abort();
    }
}

async fn follow(kubectl: Kubectl, folder: PathBuf) {
    let mut children = HashMap::new();
    loop {
        // Whoever goes on though its log ended is followed again from its beginning: the
        // API server was away.
        children.retain(|_, child| is_following(child));
        // Logs are for people: without them the scenario still has its verdict.
        for pod in kubectl.pods().await.unwrap_or_default() {
            let life = (pod.name.clone(), pod.restarts);
            if pod.is_running && !children.contains_key(&life) {
                let child = begin(&kubectl, &folder, &pod);
                children.insert(life, child.inspect_err(|error| eprintln!("{error:#}")));
            }
        }
        sleep(LOOK).await;
    }
}

/// What could not be followed at all was told, and is left alone.
fn is_following(child: &mut Result<Child>) -> bool {
    match child {
        Ok(child) => matches!(child.try_wait(), Ok(None)),
        Err(_) => true,
    }
}

fn begin(kubectl: &Kubectl, folder: &Path, pod: &Pod) -> Result<Child> {
    let name = match pod.restarts {
        0 => format!("{}.log", pod.name),
        restarts => format!("{}.{restarts}.log", pod.name),
    };
    let file = folder.join(name);
    let file = File::create(&file).with_context(|| format!("create {}", file.display()))?;
    kubectl.follow(&pod.name, file)
}
