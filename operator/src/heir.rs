//! A worker whose container was restarted in place, while no operator is there (ADR 0023).

use std::sync::Arc;
use std::time::Duration;

use hexagram_control::decide::inherit;
use hexagram_control::{Maps, Register, RegisterError, Tellers, named};
use hexagram_core::{Owner, RegisterMap, ShardCount};
use kube::Api;
use tokio::time::timeout;

use crate::register::KubeRegister;
use crate::shard_map::ShardMap;
use crate::source::MapSource;
use crate::trouble::Trouble;

#[cfg(test)]
mod tests;

/// An operator that is there has taken a worker in long before: it finds it within 2 s.
const PATIENCE: Duration = Duration::from_secs(5);

/// A worker in its new life, which may take over what its last one owned.
///
/// Its name is its pod's: a container is started again only once its last process is over,
/// so nobody serves in the last life's epochs any more.
pub struct Heir {
    api: Api<ShardMap>,
    shard_map: String,
    cluster: String,
    count: ShardCount,
    owner: Owner,
    address: String,
    others: Tellers,
}

impl MapSource {
    /// A worker of this cluster that may have owned shards in an earlier life. Before it takes
    /// them over it asks `others` what they know, and those that the map names.
    #[must_use]
    pub fn heir(&self, owner: Owner, address: String, others: Tellers) -> Heir {
        Heir {
            api: self.api.clone(),
            shard_map: self.name.clone(),
            cluster: self.cluster.clone(),
            count: self.count,
            owner,
            address,
            others,
        }
    }
}

impl Heir {
    /// Waits until the map names this life. Every 5 s without that it takes over by itself
    /// what `maps` says that earlier lives own.
    pub async fn named(&self, maps: &mut Maps) {
        let mut trouble = Trouble::new("taking over what this worker's last life owned");
        while is_left_alone(maps, &self.owner, &self.address).await {
            trouble.tell(self.take_over().await);
        }
    }

    async fn take_over(&self) -> Result<(), RegisterError> {
        let Some(register) = self.register().await? else {
            return Ok(());
        };
        let Some(map) = register.read().await? else {
            return Ok(());
        };
        let told = asked(&self.others, &map, &self.owner).known().await;
        let next = inherit(&map, &told, &self.owner, &self.address);
        take_over(&register, next).await
    }

    /// `None` without the object: to make it is the operator's.
    async fn register(&self) -> Result<Option<KubeRegister>, RegisterError> {
        let api = self.api.clone();
        KubeRegister::found(api, &self.shard_map, &self.cluster, self.count).await
    }
}

/// Waits until the map names `owner`; gives true before, where nobody does that in time and
/// there is something to take over.
async fn is_left_alone(maps: &mut Maps, owner: &Owner, address: &str) -> bool {
    while timeout(PATIENCE, named(maps, owner)).await.is_err() {
        if has_legacy(maps, owner, address) {
            return true;
        }
    }
    false
}

fn has_legacy(maps: &Maps, owner: &Owner, address: &str) -> bool {
    let map = maps.borrow();
    let map = map.as_deref();
    map.is_some_and(|map| inherit(map, &[], owner, address).is_some())
}

/// `others`, and those that the map names: it may be an old one, and they may be gone.
fn asked(others: &Tellers, map: &RegisterMap, owner: &Owner) -> Tellers {
    let known = map.addresses().iter();
    let known = known.filter(|(other, _)| other.worker != owner.worker);
    let mut asked = others.clone();
    asked.places.extend(known.map(|(_, place)| place.clone()));
    asked
}

/// What others wrote meanwhile stays: the next look finds it.
async fn take_over(
    register: &impl Register,
    next: Option<RegisterMap>,
) -> Result<(), RegisterError> {
    let Some(next) = next else { return Ok(()) };
    register.compare_and_swap(Arc::new(next)).await?;
    tracing::warn!("no operator took this worker in: it took over what its last life owned");
    Ok(())
}
