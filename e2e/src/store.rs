//! The session store of the release, killed and wiped.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::scene::Scene;
use crate::{nodes, wait};

/// The only pod of the chart's Valkey, and what runs in it.
const POD: &str = "hexagram-valkey-0";
const PROGRAM: &str = "redis-server";
const BACK: Duration = Duration::from_secs(120);

impl Scene {
    /// Installs with a store of the release's own.
    ///
    /// # Errors
    /// When Helm refuses or nobody answers.
    pub async fn install_store(&self, image: &str) -> Result<()> {
        let image = format!("valkey.image={image}");
        let server = format!("valkey.server={PROGRAM}");
        self.install_with(&["valkey.enabled=true", &image, &server])
            .await?;
        self.rest().await.map(|_| ())
    }

    /// Kills its process, and waits until it runs again with all that it had written.
    ///
    /// # Errors
    /// When it is not found or does not come back.
    pub async fn kill_store(&self) -> Result<()> {
        let before = self.store().await?;
        let node = before["spec"]["nodeName"].as_str().unwrap_or_default();
        nodes::kill(node, POD, PROGRAM).await?;
        self.store_is_back(&before).await
    }

    /// Deletes its pod and with it all that it had, and waits until an empty one runs.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn wipe_store(&self) -> Result<()> {
        let before = self.store().await?;
        let delete = ["delete", "pod", POD, "--grace-period=0", "--force"];
        self.kubectl.run(&delete).await?;
        self.store_is_back(&before).await
    }

    /// Whether its node can be entered.
    ///
    /// # Errors
    /// When there is no store.
    pub async fn can_kill_store(&self) -> Result<bool> {
        let store = self.store().await?;
        let node = store["spec"]["nodeName"].as_str().unwrap_or_default();
        Ok(nodes::can_break(node).await)
    }

    async fn store(&self) -> Result<Value> {
        self.kubectl.get(&["pod", POD]).await
    }

    async fn store_is_back(&self, before: &Value) -> Result<()> {
        wait::until("the store", BACK, async || {
            let now = self.store().await?;
            ensure!(life(&now) != life(before), "it is the one from before");
            let ready = &now["status"]["containerStatuses"][0]["ready"];
            ensure!(*ready == true, "it is not ready");
            Ok(())
        })
        .await
    }
}

/// Which pod it is, and how often its container was started again.
fn life(pod: &Value) -> (&Value, &Value) {
    let restarts = &pod["status"]["containerStatuses"][0]["restartCount"];
    (&pod["metadata"]["uid"], restarts)
}
