//! A store in Valkey or Redis: of clusters of processes. ADR 0015 has the keys.

mod checks;
mod connection;
mod keys;
mod load;
mod scripts;
mod settings;
mod trouble;

use std::fmt;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hexagram_core::ShardId;
use redis::Pipeline;

use crate::claim_ids::ClaimIds;
use crate::record::{Group, Record};
use crate::store::{Arrived, Claim, Claimed, Store, StoreError, Written};
use connection::Connection;
use keys::Keys;
use scripts::{read_claimed, read_wrote};
pub use settings::{RedisSettings, SettingsError};

/// Keeps records in a Valkey, or a Redis from 7.0 on, over one connection that is made
/// anew when it is lost.
///
/// The server must be a primary that is not in cluster mode and does not evict, and the
/// store in it must be this cluster's: that is checked with each connection, and whose it
/// is with each claim. What does not fit is [`StoreError::Unusable`].
pub struct RedisStore {
    connection: Connection,
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

    /// Connects if it is not connected, and says whether the store can be used.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn check(&self) -> Result<(), StoreError> {
        self.connection.check_about().await
    }

    async fn claim(&self, claim: Claim) -> Result<Claimed, StoreError> {
        self.connection.check_about().await?;
        let id = self.claim_ids.take();
        let ask = |scripts: &scripts::Scripts| {
            let mut pipeline = Pipeline::new();
            pipeline.add_command(scripts.claim(claim, id));
            pipeline
        };
        let (answer,): (Vec<String>,) = self.connection.run(ask).await?;
        let claimed = read_claimed(&answer).ok_or_else(|| self.nonsense(claim.shard))?;
        if let Claimed::Yours { .. } = claimed {
            self.claim_ids.note(claim.shard, claim.epoch, id);
        }
        Ok(claimed)
    }

    async fn write(&self, groups: &[Group]) -> Result<Written, StoreError> {
        if groups.is_empty() {
            return Ok(Vec::new());
        }
        let ask = |scripts: &scripts::Scripts| {
            let mut pipeline = Pipeline::with_capacity(groups.len());
            for group in groups {
                let id = self.claim_ids.of(group.shard, group.epoch);
                pipeline.add_command(scripts.write(group, id));
            }
            pipeline
        };
        let answers: Vec<Result<Vec<String>, _>> = self.connection.run_each(ask).await?;
        let answers = groups.iter().zip(answers);
        let wrote = answers
            .map(|(group, answer)| read_wrote(&answer?).ok_or_else(|| self.nonsense(group.shard)));
        Ok(wrote.collect())
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
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("address", &self.connection.address())
            .finish_non_exhaustive()
    }
}

/// A random number. Linux always has one after boot.
fn random() -> u64 {
    getrandom::u64().expect("the operating system gives randomness")
}
