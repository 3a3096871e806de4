//! Where in Kubernetes this process is.

use kube::config::InferConfigError;
use kube::{Api, Client, Config};

use crate::shard_map::ShardMap;

/// A namespace, and the way to its API server.
#[derive(Clone)]
pub struct Place {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

/// Kubernetes cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is neither a service account nor a kubeconfig.
    #[error(
        "no way to the Kubernetes API server: run in a pod with a service account, or with a \
         kubeconfig (KUBECONFIG): {0}"
    )]
    Config(#[from] InferConfigError),
    /// What they say cannot be used.
    #[error("the Kubernetes client cannot be made: {0}")]
    Client(#[from] kube::Error),
}

impl Place {
    /// Where the service account or the kubeconfig says, in `namespace` if one is given.
    /// Asks nobody yet.
    ///
    /// # Errors
    /// When neither is there or they are unusable.
    pub async fn infer(namespace: Option<&str>) -> Result<Self, ConnectError> {
        let config = Config::infer().await?;
        let namespace = namespace.unwrap_or(&config.default_namespace).to_owned();
        let client = Client::try_from(config)?;
        Ok(Self { client, namespace })
    }

    pub(crate) fn shard_maps(&self) -> Api<ShardMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}
