//! The ideas that every Hexagram process shares: who is calling, which shard
//! that is, who owns the shard, and what a sealed session id says.
//!
//! Pure: no I/O, no clock, no async, no randomness. Entropy, nonces and the
//! time come in as arguments, so the same code runs in a process, in the
//! simulation and in a property test. This crate depends on no other crate of
//! the workspace.

mod capabilities;
mod dead;
mod epoch;
mod event_id;
mod handle;
mod handoff;
mod identity;
mod keyring;
mod load;
mod map;
pub mod placement;
mod pulse;
mod seal;
mod session;
mod setup;
mod shard;
#[cfg(test)]
mod testing;
mod version;

pub use capabilities::Capabilities;
pub use dead::DeadSet;
pub use epoch::{Epoch, Incarnation};
pub use event_id::{EventId, StreamId, StreamKind};
pub use handle::{Binding, Handle, HandleError};
pub use handoff::{
    Entry, EntryError, Holding, HoldingError, Owner, OwnerError, Phase, Plan, RegisterMap, Route,
};
pub use identity::{ClientId, Principal, PrincipalId, PrincipalKind};
pub use keyring::{KeyRing, KeyRingError, LineProblem};
pub use load::LoadAverage;
pub use map::{Assignment, ShardMap, ShardMapError, WorkerId, WorkerIdError};
pub use placement::{PlacementError, preference, spread};
pub use pulse::{Doubt, Pulse};
pub use seal::{Purpose, SealError, Sealer};
pub use session::{CLOCK_SKEW_SECS, ClaimsError, Serial, SessionClaims, SessionKey};
pub use setup::Setup;
pub use shard::{ShardCount, ShardCountError, ShardId, shard_of};
pub use version::{Era, ProtocolVersion, UnknownVersion};
