//! A store in Valkey or Redis: of clusters of processes. ADR 0015 has the keys.

mod checks;
mod connection;
mod keys;
mod load;
mod replicas;
mod scripts;
mod settings;
mod trouble;

use std::fmt;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hexagram_core::ShardId;
use redis::{Pipeline, Value};

use crate::claim_ids::ClaimIds;
use crate::record::{Group, Record};
use crate::store::{Arrived, Claim, Claimed, Store, StoreError, Written, Wrote};
use connection::Connection;
use keys::Keys;
use replicas::{Asking, Replicas, What};
use scripts::{read_claimed, read_wrote};
pub use settings::{RedisSettings, SettingsError};

/// Keeps records in a Valkey, or a Redis from 7.0 on, over one connection that is made
/// anew when it is lost.
///
/// The server must be a primary that is not in cluster mode and does not evict, and the
/// store in it must be this cluster's: that is checked with each connection, and whose it
/// is with each claim. What does not fit is [`StoreError::Unusable`].
///
/// Where [`RedisSettings::wait`] asks for it, a group is stored only once so many replicas
/// have it; otherwise it is [`StoreError::Unreplicated`]. A claim waits for them as well, and
/// stands where they do not come: what is written in its epoch is waited for.
pub struct RedisStore {
    connection: Connection,
    replicas: Replicas,
    claim_ids: ClaimIds,
}

impl RedisStore {
    /// A store that connects at its first call.
    ///
    /// # Errors
    /// [`SettingsError`]
    pub fn new(settings: &RedisSettings) -> Result<Self, SettingsError> {
        Ok(Self {
            connection: Connection::new(settings)?,
            replicas: Replicas::new(settings.wait),
            claim_ids: ClaimIds::from(random()),
        })
    }

    /// As [`new()`](Self::new), and connects.
    ///
    /// # Errors
    /// [`StoreError`]; wrong settings are [`StoreError::Unusable`].
    pub async fn connect(settings: &RedisSettings) -> Result<Self, StoreError> {
        let store = Self::new(settings).map_err(|error| StoreError::Unusable(error.to_string()))?;
        store.check().await?;
        Ok(store)
    }

    /// The same store, which gives replicas that are known to be missing all their time once in
    /// `again`, where others do in 30 s: for tests, which cannot wait so long.
    #[doc(hidden)]
    #[must_use]
    pub fn finding_replicas_again(mut self, again: Duration) -> Self {
        self.replicas.again = again;
        self
    }

    /// Connects if it is not connected, and says whether the store can be used, and whether
    /// it has the replicas that are to be waited for.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn check(&self) -> Result<(), StoreError> {
        // In this order: the other question writes something, which replicas would have to
        // confirm first.
        self.ask_replicas().await?;
        self.connection.check_about().await
    }

    /// Whether enough replicas have all that was written over the connection.
    async fn ask_replicas(&self) -> Result<(), StoreError> {
        let Some(asking) = self.replicas.turn(What::Groups).await else {
            return Ok(());
        };
        let ask = |_: &_| {
            let mut pipeline = Pipeline::new();
            asking.add_to(&mut pipeline);
            pipeline
        };
        let (answer,): (Value,) = self.connection.run(ask).await?;
        asking.answered(Some(answer), self.connection.address())
    }

    async fn claim(&self, claim: Claim) -> Result<Claimed, StoreError> {
        self.connection.check_about().await?;
        let asking = self.replicas.turn(What::Claim).await;
        let id = self.claim_ids.take();
        let ask = |scripts: &scripts::Scripts| {
            let mut pipeline = Pipeline::new();
            pipeline.add_command(scripts.claim(claim, id));
            if let Some(asking) = &asking {
                asking.add_to(&mut pipeline);
            }
            pipeline
        };
        let mut answers: Vec<Value> = self.connection.run(ask).await?;
        if let Some(asking) = asking
            && let Err(error) = asking.answered(answers.pop(), self.connection.address())
        {
            tracing::debug!(shard = %claim.shard, %error, "a claim stands all the same");
        }
        let answer = answers.pop().and_then(words);
        let claimed = answer.and_then(|answer| read_claimed(&answer));
        let claimed = claimed.ok_or_else(|| self.nonsense(claim.shard))?;
        if let Claimed::Yours { .. } = claimed {
            self.claim_ids.note(claim.shard, claim.epoch, id);
        }
        Ok(claimed)
    }

    async fn write(&self, groups: &[Group]) -> Result<Written, StoreError> {
        let asking = match groups {
            [] => None,
            _ => self.replicas.turn(What::Groups).await,
        };
        self.send(groups, asking).await
    }

    /// Writes groups, and asks the replicas whether they have them if that is one's turn.
    async fn send(
        &self,
        groups: &[Group],
        asking: Option<Asking<'_>>,
    ) -> Result<Written, StoreError> {
        if groups.is_empty() {
            return Ok(Vec::new());
        }
        let ask = |scripts: &scripts::Scripts| {
            let mut pipeline = Pipeline::with_capacity(groups.len() + 1);
            for group in groups {
                let id = self.claim_ids.of(group.shard, group.epoch);
                pipeline.add_command(scripts.write(group, id));
            }
            if let Some(asking) = &asking {
                asking.add_to(&mut pipeline);
            }
            pipeline
        };
        let mut answers = self.connection.run_each(ask).await?;
        let replicated = match asking {
            Some(asking) => {
                let answer = answers.pop().transpose()?;
                asking.answered(answer, self.connection.address())
            }
            None => Ok(()),
        };
        let answers = groups.iter().zip(answers);
        let wrote = answers.map(|(group, answer)| match self.wrote(group, answer?)? {
            Wrote::Stored => replicated.clone().map(|()| Wrote::Stored),
            other => Ok(other),
        });
        Ok(wrote.collect())
    }

    fn wrote(&self, group: &Group, answer: Value) -> Result<Wrote, StoreError> {
        let wrote = words(answer).and_then(|answer| read_wrote(&answer));
        wrote.ok_or_else(|| self.nonsense(group.shard))
    }

    fn nonsense(&self, shard: ShardId) -> StoreError {
        self.connection.nonsense(&Keys(shard).head())
    }
}

impl Store for RedisStore {
    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<Claimed, StoreError>> {
        self.claim(claim).boxed()
    }

    fn load<'a>(
        &'a self,
        shard: ShardId,
        arrived: Arrived<'a>,
    ) -> BoxFuture<'a, Result<Record, StoreError>> {
        load::load(&self.connection, shard, arrived).boxed()
    }

    fn write<'a>(&'a self, groups: &'a [Group]) -> BoxFuture<'a, Result<Written, StoreError>> {
        self.write(groups).boxed()
    }

    fn inquire<'a>(&'a self, groups: &'a [Group]) -> BoxFuture<'a, Result<Written, StoreError>> {
        self.send(groups, None).boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.check().boxed()
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("address", &self.connection.address())
            .finish_non_exhaustive()
    }
}

/// A script's answer.
fn words(answer: Value) -> Option<Vec<String>> {
    redis::from_redis_value(answer).ok()
}

/// A random number. Linux always has one after boot.
fn random() -> u64 {
    getrandom::u64().expect("the operating system gives randomness")
}
