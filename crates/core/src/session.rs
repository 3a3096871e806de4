//! An MCP legacy session's identity and what its sealed id says about it.
//!
//! The claims are enough to rebuild an untouched session on any worker, so an
//! idle session costs no memory and no store write (DESIGN section 4).

use crate::{Capabilities, ClientId, Epoch, PrincipalId, ProtocolVersion};

mod layout;
#[cfg(test)]
mod tests;

pub use layout::ClaimsError;

/// How far two wall clocks of a cluster may differ, in seconds.
pub const CLOCK_SKEW_SECS: u64 = 120;

/// The n-th session that an owner minted in its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(u64);

/// Names a session within its shard. Epochs grow and an owner counts its
/// serials, so no key is ever used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// The shard's epoch at minting.
    pub epoch: Epoch,
    /// The session's number in that epoch.
    pub serial: Serial,
}

/// What a sealed session id says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionClaims {
    /// The routing key.
    pub client: ClientId,
    /// Who opened the session; anybody else gets 404.
    pub principal: PrincipalId,
    /// The session's name within its shard.
    pub key: SessionKey,
    /// When it was minted, in Unix seconds.
    pub created: u64,
    /// The negotiated protocol revision.
    pub version: ProtocolVersion,
    /// What the client can do.
    pub capabilities: Capabilities,
    /// The client's name; its first 44 bytes travel in the id.
    pub client_name: String,
    /// The client's version; its first 20 bytes travel in the id.
    pub client_version: String,
    /// Whether the store holds more about the session.
    pub has_record: bool,
}

impl Serial {
    /// The serial with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The serial's number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl SessionClaims {
    /// The claims as bytes, at most 129. Name and version are cut at a
    /// character boundary, to 64 bytes together.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        layout::encode(self)
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// Anything that this release would not have written byte for byte.
    pub fn decode(bytes: &[u8]) -> Result<Self, ClaimsError> {
        layout::decode(bytes)
    }

    /// Whether the session is over at `now_unix`, for an absolute lifetime in
    /// seconds. Clocks may differ by [`CLOCK_SKEW_SECS`] either way; a session
    /// from further in the future than that is refused too.
    #[must_use]
    pub const fn expired(&self, now_unix: u64, lifetime_secs: u64) -> bool {
        let age = now_unix.saturating_sub(self.created);
        let lead = self.created.saturating_sub(now_unix);
        age > lifetime_secs.saturating_add(CLOCK_SKEW_SECS) || lead > CLOCK_SKEW_SECS
    }
}
