//! A worker whose container was restarted in place, while no operator is there (ADR 0023).

use std::sync::Arc;
use std::time::Duration;

use hexagram_control::decide::inherit;
use hexagram_control::{Maps, Register, RegisterError, Tellers, named};
use hexagram_core::{Owner, RegisterMap, ShardCount};
use hexagram_runtime::random::{jittered, up_to};
use kube::Api;
use tokio::time::{sleep, timeout};

use crate::register::KubeRegister;
use crate::shard_map::ShardMap;
use crate::source::MapSource;
use crate::trouble::Trouble;

#[cfg(test)]
mod tests;

/// An operator that is there has taken a worker in long before: it finds it within 2 s.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of many that start at once each waits up to so much longer.
const SPREAD: Duration = Duration::from_secs(1);
/// Times that a worker writes while others write first.
const TRIES: u32 = 6;
/// Before the second time; twice as long before each further one.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a worker took nothing over.
#[derive(Debug, thiserror::Error)]
enum Untaken {
    #[error(transparent)]
    Register(#[from] RegisterError),
    #[error(
        "other workers know later epochs of all its shards than the shard map, which is an old \
         one: start an operator, which asks who serves them"
    )]
    Outdated,
}

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

/// What a worker in its new life goes by.
struct Inheritance<'a> {
    heir: &'a Owner,
    address: &'a str,
    /// What others know, asked before the register is read: epochs only grow, so it stays true.
    told: Vec<RegisterMap>,
}

impl Heir {
    /// Waits until the map names this life. Every 5 s without that, and up to one more, it takes
    /// over by itself what `maps` says that earlier lives own.
    pub async fn named(&self, maps: &mut Maps) {
        let mut trouble = Trouble::new("taking over what this worker's last life owned");
        while is_left_alone(maps, &self.owner, &self.address).await {
            trouble.tell(self.take_over(maps).await);
        }
    }

    async fn take_over(&self, maps: &Maps) -> Result<(), Untaken> {
        let map = maps.borrow().clone();
        let Some(map) = map else { return Ok(()) };
        let inheritance = Inheritance {
            heir: &self.owner,
            address: &self.address,
            told: asked(&self.others, &map, &self.owner).known().await,
        };
        inheritance.take_over(|| self.register()).await
    }

    /// As it is now; `None` without the object: to make it is the operator's.
    async fn register(&self) -> Result<Option<KubeRegister>, RegisterError> {
        let api = self.api.clone();
        KubeRegister::found(api, &self.shard_map, &self.cluster, self.count).await
    }
}

impl Inheritance<'_> {
    /// Writes what is to be taken over. Where others write first it reads the register again,
    /// a few times: many may be at it at once.
    async fn take_over<R, F>(&self, register: impl Fn() -> F) -> Result<(), Untaken>
    where
        R: Register,
        F: Future<Output = Result<Option<R>, RegisterError>>,
    {
        let (mut left, mut pause) = (TRIES - 1, PAUSE);
        loop {
            match self.take_over_once(register().await?).await {
                Err(Untaken::Register(RegisterError::Conflict { .. })) if left > 0 => {
                    sleep(jittered(pause)).await;
                }
                went => return went,
            }
            (left, pause) = (left - 1, pause * 2);
        }
    }

    async fn take_over_once(&self, register: Option<impl Register>) -> Result<(), Untaken> {
        let Some(register) = register else {
            return Ok(());
        };
        let Some(map) = register.read().await? else {
            return Ok(());
        };
        let Some(next) = self.next(&map)? else {
            return Ok(());
        };
        register.compare_and_swap(Arc::new(next)).await?;
        tracing::warn!("no operator took this worker in: it took over what its last life owned");
        Ok(())
    }

    /// What to write in place of `map`; `None` where an operator has come meanwhile.
    fn next(&self, map: &RegisterMap) -> Result<Option<RegisterMap>, Untaken> {
        if map.addresses().contains_key(self.heir) {
            return Ok(None);
        }
        let next = |told: &[RegisterMap]| inherit(map, told, self.heir, self.address);
        match next(&self.told) {
            None if next(&[]).is_some() => Err(Untaken::Outdated),
            next => Ok(next),
        }
    }
}

/// Waits until the map names `owner`; gives true before, where nobody does that in time and
/// there is something to take over.
async fn is_left_alone(maps: &mut Maps, owner: &Owner, address: &str) -> bool {
    let patience = || PATIENCE + up_to(SPREAD);
    while timeout(patience(), named(maps, owner)).await.is_err() {
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
