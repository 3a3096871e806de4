//! A worker whose container was restarted in place, while no operator is there (ADR 0023).

use std::sync::Arc;
use std::time::Duration;

use hexagram_control::decide::inherit;
use hexagram_control::{Maps, Register, RegisterError, named};
use hexagram_core::{Owner, ShardCount};
use kube::Api;
use tokio::time::timeout;

use crate::register::KubeRegister;
use crate::shard_map::ShardMap;
use crate::trouble::Trouble;

/// An operator that is there has taken a worker in long before: it finds it within 2 s.
const PATIENCE: Duration = Duration::from_secs(5);

/// A worker in its new life, which may take over what its last one owned.
///
/// Its name is its pod's: a container is started again only once its last process is over,
/// so nobody serves in the last life's epochs any more.
pub struct Heir {
    pub(crate) api: Api<ShardMap>,
    pub(crate) shard_map: String,
    pub(crate) cluster: String,
    pub(crate) count: ShardCount,
    pub(crate) owner: Owner,
    pub(crate) address: String,
}

impl Heir {
    /// Waits until the map names this life. Every 5 s without that it takes over by itself
    /// what `maps` says that earlier lives own.
    pub async fn named(&self, maps: &mut Maps) {
        let mut trouble = Trouble::new("taking over what this worker's last life owned");
        while timeout(PATIENCE, named(maps, &self.owner)).await.is_err() {
            if self.has_legacy(maps) {
                trouble.tell(self.inherit().await);
            }
        }
    }

    fn has_legacy(&self, maps: &Maps) -> bool {
        let map = maps.borrow();
        let map = map.as_deref();
        map.is_some_and(|map| inherit(map, &self.owner, &self.address).is_some())
    }

    async fn inherit(&self) -> Result<(), RegisterError> {
        let (api, name) = (self.api.clone(), &self.shard_map);
        let register = KubeRegister::open(api, name, &self.cluster, self.count).await?;
        let map = register.read().await?;
        let next = map.and_then(|map| inherit(&map, &self.owner, &self.address));
        let Some(next) = next else { return Ok(()) };
        register.compare_and_swap(Arc::new(next)).await?;
        tracing::warn!(
            shard_map = name,
            "no operator took this worker in: it took over what its last life owned"
        );
        Ok(())
    }
}
