//! The key ring: what the processes report of it, and asking for another key.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::kubectl::{Pod, Role};
use crate::scene::Scene;
use crate::wait;

/// A mounted Secret follows within about two minutes; the operator looks every ten seconds.
const TAKEN: Duration = Duration::from_secs(240);

impl Scene {
    /// Asks the operator for another key.
    ///
    /// # Errors
    /// When the Secret cannot be annotated.
    pub async fn ask_for_a_key(&self) -> Result<()> {
        let ask = "hexagram.dev/rotate-keys=now";
        let annotate = ["annotate", "--overwrite", "secret", "hexagram-keys", ask];
        self.kubectl.run(&annotate).await.map(|_| ())
    }

    /// The keys that a worker opens with, the one that it mints with first.
    ///
    /// # Errors
    /// When no worker tells.
    pub async fn keys(&self) -> Result<Vec<String>> {
        self.keys_of(&self.pod(Role::Worker).await?).await
    }

    /// Waits until every edge and worker opens with a key that is none of `known`; that key.
    ///
    /// # Errors
    /// With who does not.
    pub async fn another_key_opens(&self, known: &[String]) -> Result<String> {
        wait::until("another key everywhere", TAKEN, async || {
            let mut keys = self.keys().await?;
            keys.retain(|key| !known.contains(key));
            let key = keys.pop().context("there is no other key")?;
            for role in [Role::Edge, Role::Worker] {
                for pod in self.serving(role).await? {
                    let opens = self.keys_of(&pod).await?.contains(&key);
                    ensure!(opens, "{} does not open with {key}", pod.name);
                }
            }
            Ok(key)
        })
        .await
    }

    /// Waits until every worker mints with this key.
    ///
    /// # Errors
    /// With who does not.
    pub async fn key_mints(&self, key: &str) -> Result<()> {
        wait::until(format!("{key} mints"), TAKEN, async || {
            for pod in self.serving(Role::Worker).await? {
                let keys = self.keys_of(&pod).await?;
                let mints = keys.first().is_some_and(|first| first == key);
                ensure!(mints, "{} has {keys:?}", pod.name);
            }
            Ok(())
        })
        .await
    }

    async fn keys_of(&self, pod: &Pod) -> Result<Vec<String>> {
        let status = self.kubectl.status(&pod.name).await?;
        let keys = status["keys"].as_array().into_iter().flatten();
        let keys = keys.filter_map(Value::as_str);
        Ok(keys.map(str::to_owned).collect())
    }
}
