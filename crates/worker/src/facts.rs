//! What upstreams are told of a client.

use hexagram_core::{Capabilities, ProtocolVersion, SessionClaims};

/// A client as upstreams are told of it.
#[derive(Debug, Clone)]
pub(crate) struct ClientFacts {
    pub(crate) version: ProtocolVersion,
    pub(crate) capabilities: Capabilities,
    pub(crate) name: String,
    pub(crate) software_version: String,
}

impl ClientFacts {
    /// What a sealed id tells of its client.
    pub(crate) fn from_claims(claims: &SessionClaims) -> Self {
        Self {
            version: claims.version,
            capabilities: claims.capabilities,
            name: claims.client_name.clone(),
            software_version: claims.client_version.clone(),
        }
    }
}
