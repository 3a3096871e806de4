//! `--store`: where sessions outlive their worker.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use hexagram_store::{RedisSettings, RedisStore, Store, StoreError};

use crate::cluster::ClusterArgs;
use crate::mistake::Mistake;

/// The session store.
#[derive(Debug, Clone, Args)]
pub(crate) struct StoreArgs {
    /// Valkey or Redis in which sessions outlive their worker: redis://HOST:PORT/DATABASE,
    /// or rediss:// for TLS, with USER:PASSWORD@ before the host where it asks for them.
    /// The same for every worker. A password is better kept in HEXAGRAM_STORE.
    #[arg(long, value_name = "URL", hide_env_values = true)]
    pub(crate) store: Option<Url>,

    /// Certificates in PEM form to trust the store by, instead of the system's.
    #[arg(long, value_name = "FILE", requires = "store")]
    pub(crate) store_ca: Option<PathBuf>,

    /// Replicas of the store that must have what is written before it counts as stored: what a
    /// replica that takes the store's place has not heard of is lost otherwise. 0 asks the
    /// store alone. While there are fewer, sessions are as if the store were lost.
    #[arg(long, default_value_t = 0, value_name = "N", requires = "store")]
    pub(crate) store_wait: u8,
}

/// A store's URL, which may hold a password: it is shown without.
#[derive(Clone)]
pub(crate) struct Url(String);

impl std::str::FromStr for Url {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the store's URL")
    }
}

impl StoreArgs {
    /// Where it is, without user and password; empty where there is none.
    pub(crate) fn place(&self, cluster: &ClusterArgs) -> Result<String> {
        let settings = self.settings(cluster)?;
        Ok(settings.map_or(String::new(), |settings| settings.place()))
    }

    /// The store, if there is to be one; checked as far as settings decide.
    pub(crate) fn open(&self, cluster: &ClusterArgs) -> Result<Option<Arc<RedisStore>>> {
        let Some(settings) = self.settings(cluster)? else {
            return Ok(None);
        };
        let store = RedisStore::new(&settings);
        let store = store.map_err(|error| Mistake::Settings(format!("--store: {error}")))?;
        Ok(Some(Arc::new(store)))
    }

    fn settings(&self, cluster: &ClusterArgs) -> Result<Option<RedisSettings>> {
        let Some(url) = &self.store else {
            return Ok(None);
        };
        let ca = self.store_ca.as_ref().map(|file| {
            let read = std::fs::read(file);
            read.map_err(|error| {
                let file = file.display();
                Mistake::File(format!("cannot read {file}: {error}; check --store-ca"))
            })
        });
        Ok(Some(RedisSettings {
            url: url.0.clone(),
            ca: ca.transpose()?,
            cluster: cluster.cluster.clone(),
            shards: cluster.shards,
            wait: self.store_wait,
        }))
    }
}

/// Refuses a store that will never do. One that is away now may come, and so may its
/// replicas: until then the worker serves without it.
pub(crate) async fn check(store: Option<&Arc<RedisStore>>) -> Result<()> {
    let Some(store) = store else { return Ok(()) };
    match store.check().await {
        Ok(()) => Ok(()),
        Err(error @ StoreError::Lost(_)) => {
            tracing::error!(%error, "sessions are lost with their worker until the store answers");
            Ok(())
        }
        Err(error @ StoreError::Unreplicated(_)) => {
            tracing::error!(%error, "sessions may be lost with their worker until the store has more replicas, or a lower --store-wait");
            Ok(())
        }
        Err(error) => Err(error).context("--store"),
    }
}

/// As a worker takes it.
pub(crate) fn any(store: Option<&Arc<RedisStore>>) -> Option<Arc<dyn Store>> {
    store.map(|store| Arc::clone(store) as Arc<dyn Store>)
}
