//! Handles: an upstream's own words (a task's id, a multi-round-trip state)
//! sealed together with whom they belong to.
//!
//! A client carries a handle and cannot read, change or lend it; any edge
//! routes it to the shard where it was made, with no table (DESIGN section 4).
//!
//! Layout, big-endian:
//!
//! ```text
//! layout 1 | client 16 | principal 16 | created 8 | binding 8
//! | length 1, upstream | the upstream's words
//! ```

use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

use crate::{CLOCK_SKEW_SECS, ClientId, PrincipalId, Purpose, SealError, Sealer};

const LAYOUT: u8 = 1;

/// The longest upstream name that fits, in bytes.
const NAME_LIMIT: usize = u8::MAX as usize;

/// What a handle is good for: a state belongs to one method and name, a task's
/// id to every tasks method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding(u64);

/// What a handle says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    /// Whose exchange made it: the routing key.
    pub client: ClientId,
    /// Who may use it; anybody else is told that it is unknown.
    pub principal: PrincipalId,
    /// When it was made, in Unix seconds.
    pub created: u64,
    /// What it is good for.
    pub binding: Binding,
    /// Name of the upstream whose words it holds; cut to 255 bytes.
    pub upstream: String,
    /// The upstream's own words.
    pub inner: String,
}

/// A handle that cannot be used. For the client all of these are one answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HandleError {
    /// It does not open.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A genuine token with contents that this release cannot read.
    #[error("the handle's layout is unknown here: finish the upgrade of every process")]
    Layout,
}

impl Binding {
    /// Good for all methods of its purpose.
    pub const ANY: Self = Self(0);

    /// Good for this method on this name only.
    #[must_use]
    pub fn to(method: &str, name: &str) -> Self {
        // No method holds a zero byte, so no two pairs are alike.
        Self(xxh3_64(
            &[method.as_bytes(), &[0], name.as_bytes()].concat(),
        ))
    }
}

impl Handle {
    /// The handle as a token: visible ASCII. `nonce` as for [`Sealer::seal`].
    #[must_use]
    pub fn seal(&self, sealer: &Sealer, purpose: Purpose, nonce: [u8; 24]) -> String {
        sealer.seal(purpose, nonce, &self.encode())
    }

    /// Opens what [`seal`](Self::seal) made.
    ///
    /// # Errors
    /// Why it does not open.
    pub fn open(sealer: &Sealer, purpose: Purpose, token: &str) -> Result<Self, HandleError> {
        Self::decode(&sealer.open(purpose, token)?).ok_or(HandleError::Layout)
    }

    /// Whether it is too old at `now_unix`, for an absolute lifetime in seconds.
    #[must_use]
    pub const fn expired(&self, now_unix: u64, lifetime_secs: u64) -> bool {
        let age = now_unix.saturating_sub(self.created);
        let lead = self.created.saturating_sub(now_unix);
        age > lifetime_secs.saturating_add(CLOCK_SKEW_SECS) || lead > CLOCK_SKEW_SECS
    }

    fn encode(&self) -> Vec<u8> {
        let name = self.upstream.as_bytes();
        let name = &name[..name.len().min(NAME_LIMIT)];
        let mut out = vec![LAYOUT];
        out.extend(self.client.as_u128().to_be_bytes());
        out.extend(self.principal.as_u128().to_be_bytes());
        out.extend(self.created.to_be_bytes());
        out.extend(self.binding.0.to_be_bytes());
        out.push(name.len() as u8);
        out.extend(name);
        out.extend(self.inner.as_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (layout, rest) = bytes.split_first()?;
        let (client, rest) = rest.split_first_chunk()?;
        let (principal, rest) = rest.split_first_chunk()?;
        let (created, rest) = rest.split_first_chunk()?;
        let (binding, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first()?;
        let (upstream, inner) = rest.split_at_checked(usize::from(*length))?;
        (*layout == LAYOUT).then_some(())?;
        Some(Self {
            client: ClientId::from_u128(u128::from_be_bytes(*client)),
            principal: PrincipalId::from_u128(u128::from_be_bytes(*principal)),
            created: u64::from_be_bytes(*created),
            binding: Binding(u64::from_be_bytes(*binding)),
            upstream: String::from_utf8(upstream.to_vec()).ok()?,
            inner: String::from_utf8(inner.to_vec()).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::KeyRing;

    fn sealer() -> Sealer {
        Sealer::new(&KeyRing::generate(1, [7; 32]), "test")
    }

    fn handle(upstream: &str, inner: &str) -> Handle {
        Handle {
            client: ClientId::from_u128(1 << 100),
            principal: PrincipalId::from_u128(2),
            created: 1_000,
            binding: Binding::to("tools/call", "x"),
            upstream: upstream.to_owned(),
            inner: inner.to_owned(),
        }
    }

    proptest! {
        #[test]
        fn what_is_sealed_comes_back(upstream in "[a-z]{0,32}", inner in ".{0,300}") {
            let handle = handle(&upstream, &inner);
            let token = handle.seal(&sealer(), Purpose::Task, [3; 24]);
            prop_assert_eq!(Handle::open(&sealer(), Purpose::Task, &token), Ok(handle));
            prop_assert!(Handle::open(&sealer(), Purpose::RequestState, &token).is_err());
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = Handle::decode(&bytes);
        }

        #[test]
        fn any_change_is_noticed(at in 0usize..120, bit in 0u8..6) {
            let token = handle("up", "state").seal(&sealer(), Purpose::Task, [3; 24]);
            let mut changed = token.clone().into_bytes();
            let at = at % changed.len();
            changed[at] ^= 1 << bit;
            let changed = String::from_utf8_lossy(&changed).into_owned();
            prop_assume!(changed != token);
            prop_assert!(Handle::open(&sealer(), Purpose::Task, &changed).is_err());
        }
    }

    #[test]
    fn a_binding_tells_methods_and_names_apart() {
        let bindings = [
            Binding::ANY,
            Binding::to("tools/call", "x"),
            Binding::to("tools/call", "y"),
            Binding::to("prompts/get", "x"),
            Binding::to("tools/callx", ""),
        ];
        for (index, one) in bindings.iter().enumerate() {
            assert!(!bindings[..index].contains(one));
        }
    }

    #[test]
    fn it_grows_old() {
        let handle = handle("up", "x");
        assert!(!handle.expired(1_000 + 60, 60));
        assert!(handle.expired(1_000 + 61 + CLOCK_SKEW_SECS, 60));
        assert!(handle.expired(1_000 - CLOCK_SKEW_SECS - 1, 60));
    }
}
