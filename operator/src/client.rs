//! Where in Kubernetes this process is.

use std::time::Duration;

use kube::config::InferConfigError;
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Config, Resource};
use tokio::time::timeout;

/// For a connection to the API server.
const CONNECT: Duration = Duration::from_secs(5);
/// A connection that says nothing for so long while something is asked is dead: by default
/// it would be believed for five minutes.
pub(crate) const SILENCE: Duration = Duration::from_secs(25);

/// For one answer of the API server.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

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
        let mut config = Config::infer().await?;
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(SILENCE);
        let namespace = namespace.unwrap_or(&config.default_namespace).to_owned();
        let client = Client::try_from(config)?;
        Ok(Self { client, namespace })
    }

    /// The objects of a kind in the namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

/// The API server's answer, unless it is late.
pub(crate) async fn within<T>(
    asked: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, kube::Error> {
    let late = |_| {
        let late = format!("the API server does not answer within {PATIENCE:?}");
        kube::Error::Service(late.into())
    };
    timeout(PATIENCE, asked).await.map_err(late)?
}
