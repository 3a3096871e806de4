//! Who is calling: the routing key and the quota key.
//!
//! Both are 128 bits of SHA-256. They key state, and their inputs come from
//! outside, so a caller must not be able to construct two that collide.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

#[cfg(test)]
mod tests;

/// Who is calling: the routing key (DESIGN section 4).
///
/// Shown as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(u128);

/// A principal as 128 bits: the quota key, and what a sealed session id says
/// about its owner. Shown as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PrincipalId(u128);

/// How a principal proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PrincipalKind {
    /// Nobody authenticated.
    Anonymous,
    /// A configured API key; the name is the key's name, never the key.
    ApiKey,
    /// A header that a trusted proxy set.
    TrustedHeader,
}

/// Who authenticated, or nobody. Cheap to clone.
///
/// ```
/// use hexagram_core::{Principal, PrincipalKind};
/// let alice = Principal::new(PrincipalKind::ApiKey, "alice");
/// assert_eq!(alice.to_string(), "api-key:alice");
/// assert_eq!(Principal::anonymous().to_string(), "anonymous");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal {
    kind: PrincipalKind,
    name: Arc<str>,
    id: PrincipalId,
}

impl ClientId {
    /// The client of a legacy session. `nonce` is random per session, so that
    /// one principal's sessions spread over all shards.
    #[must_use]
    pub fn for_session(principal: PrincipalId, nonce: u128) -> Self {
        let fields = [principal.to_bytes(), nonce.to_be_bytes()].concat();
        Self(digest("client-session", &fields))
    }

    /// The client of a modern request: its principal and its connection's slot,
    /// `0..routing.spread`.
    #[must_use]
    pub fn for_slot(principal: PrincipalId, slot: u16) -> Self {
        let fields = [&principal.to_bytes()[..], &slot.to_be_bytes()].concat();
        Self(digest("client-slot", &fields))
    }

    /// The client named by the configured header's `value`. The principal is
    /// part of it: a header never reaches another principal's state.
    #[must_use]
    pub fn named(principal: PrincipalId, value: &[u8]) -> Self {
        let fields = [&principal.to_bytes()[..], value].concat();
        Self(digest("client-named", &fields))
    }

    /// A client that nothing identifies; `nonce` is 128 random bits.
    #[must_use]
    pub fn random(nonce: u128) -> Self {
        Self(digest("client-random", &nonce.to_be_bytes()))
    }

    /// The id that another process wrote with [`as_u128`](Self::as_u128).
    #[must_use]
    pub const fn from_u128(id: u128) -> Self {
        Self(id)
    }

    /// The id as a number, for the wire.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl PrincipalId {
    /// The id that another process wrote with [`as_u128`](Self::as_u128).
    #[must_use]
    pub const fn from_u128(id: u128) -> Self {
        Self(id)
    }

    /// The id as a number, for the wire.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0
    }

    const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for PrincipalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl PrincipalKind {
    /// The kind's stable name, as logs, metrics and the id's hash spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::ApiKey => "api-key",
            Self::TrustedHeader => "trusted-header",
        }
    }
}

impl Principal {
    /// Nobody: one principal for all who did not authenticate.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::of(PrincipalKind::Anonymous, Arc::from(""))
    }

    /// The principal `name` of this kind. Nobody has no name: for
    /// [`PrincipalKind::Anonymous`] it is dropped.
    #[must_use]
    pub fn new(kind: PrincipalKind, name: impl Into<Arc<str>>) -> Self {
        match kind {
            PrincipalKind::Anonymous => Self::anonymous(),
            _ => Self::of(kind, name.into()),
        }
    }

    fn of(kind: PrincipalKind, name: Arc<str>) -> Self {
        let id = PrincipalId(digest(kind.as_str(), name.as_bytes()));
        Self { kind, name, id }
    }

    /// How the principal proved who it is.
    #[must_use]
    pub const fn kind(&self) -> PrincipalKind {
        self.kind
    }

    /// The name within its kind; empty for nobody.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The 128-bit id, computed once at construction.
    #[must_use]
    pub const fn id(&self) -> PrincipalId {
        self.id
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            PrincipalKind::Anonymous => f.write_str(self.kind.as_str()),
            _ => write!(f, "{}:{}", self.kind.as_str(), self.name),
        }
    }
}

/// The first 128 bits of SHA-256 over `tag`, a zero byte and `fields`. No tag
/// holds a zero byte and at most the last field varies in length, so no two
/// inputs read alike.
fn digest(tag: &str, fields: &[u8]) -> u128 {
    let hash = Sha256::new()
        .chain_update(tag)
        .chain_update([0])
        .chain_update(fields)
        .finalize();
    let mut head = [0; 16];
    head.copy_from_slice(&hash[..16]);
    u128::from_be_bytes(head)
}
