//! The session store: what a shard's next owner must know although the last one
//! died. Fenced by epoch, never by a clock (DESIGN 8).
//!
//! ```text
//! worker --Change--> Journal --Group--> Writer --> Store: memory, or Valkey/Redis
//! ```
//!
//! A [`Store`] knows shards, epochs and session keys; what a session's record says is
//! its worker's business. Each [`Group`] is written by one script that checks epoch and
//! number: an older owner is refused, a repeated group changes nothing, and a store that
//! has lost something is found out at the next group.

mod claim_ids;
mod journal;
mod lane;
mod lanes;
mod memory;
mod record;
mod redis_store;
mod store;
mod unwritten;
mod writer;

pub use journal::{Journal, Ticket};
pub use memory::{MemoryStore, Snapshot};
pub use record::{Change, DeadChunk, Group, Record, SAID_KEPT, Said};
pub use redis_store::{RedisSettings, RedisStore, SettingsError};
pub use store::{Arrived, Claim, ClaimMode, Claimed, Mark, Store, StoreError, Written, Wrote};
pub use unwritten::Unwritten;
pub use writer::{Event, Health, Writer};
