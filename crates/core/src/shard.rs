//! Shards: how many there are, their numbers, and which one serves a client.
//!
//! The mapping is part of the wire contract between releases (DESIGN section
//! 4): every edge must compute the same shard, so golden vectors pin it.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

use crate::ClientId;

#[cfg(test)]
mod tests;

/// How many shards a cluster has: a power of two, 1..=1024, chosen at install
/// and fixed afterwards. The default is 64.
///
/// ```
/// use hexagram_core::ShardCount;
/// assert_eq!(ShardCount::default().get(), 64);
/// assert_eq!("128".parse::<ShardCount>()?.iter().count(), 128);
/// assert!(ShardCount::try_from(60).is_err());
/// # Ok::<(), hexagram_core::ShardCountError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShardCount(u16);

/// The number of a shard, `0..count`. Made only from a [`ShardCount`], so it
/// is in range for the cluster that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(u16);

/// A shard count that no cluster can have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ShardCountError {
    /// A number outside the powers of two 1..=1024.
    #[error("{0} shards are not possible: choose a power of two from 1 to 1024, such as 64")]
    NotPowerOfTwo(u16),
    /// Text that is no number, or one above 65535.
    #[error("the shard count {0:?} is not a number: choose a power of two from 1 to 1024")]
    NotANumber(String),
}

impl ShardCount {
    const MAX: u16 = 1024;

    /// The number of shards.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// All shards in ascending order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = ShardId> {
        (0..self.0).map(ShardId)
    }

    /// The shard with this number, if the cluster has it.
    #[must_use]
    pub fn shard(self, number: u16) -> Option<ShardId> {
        (number < self.0).then_some(ShardId(number))
    }
}

impl Default for ShardCount {
    fn default() -> Self {
        Self(64)
    }
}

impl TryFrom<u16> for ShardCount {
    type Error = ShardCountError;

    fn try_from(count: u16) -> Result<Self, Self::Error> {
        if count.is_power_of_two() && count <= Self::MAX {
            Ok(Self(count))
        } else {
            Err(ShardCountError::NotPowerOfTwo(count))
        }
    }
}

impl FromStr for ShardCount {
    type Err = ShardCountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<u16>()
            .map_err(|_| ShardCountError::NotANumber(text.to_owned()))?
            .try_into()
    }
}

impl fmt::Display for ShardCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ShardId {
    /// The shard's number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The shard's number as an index into a table of all shards.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The shard that serves `client`.
///
/// A multiplication instead of a remainder keeps each shard a contiguous range
/// of the hash, so doubling the count splits every shard in two.
///
/// ```
/// use hexagram_core::{ClientId, ShardCount, shard_of};
/// let shard = shard_of(ClientId::from_u128(7), ShardCount::default());
/// assert!(shard.get() < 64);
/// ```
#[must_use]
pub fn shard_of(client: ClientId, count: ShardCount) -> ShardId {
    let hash = xxh3_64(&client.as_u128().to_be_bytes());
    let scaled = (u128::from(hash) * u128::from(count.0)) >> 64;
    // hash < 2^64, so scaled < count: nothing is cut off.
    ShardId(scaled as u16)
}
