//! Between generated messages and core types.

use hexagram_core::{
    Capabilities, ClientId, Epoch, PrincipalId, ProtocolVersion, Serial, SessionClaims, SessionKey,
};

use crate::Weight;
use crate::link::{EdgeMessage, Id128, Open, Session, WorkerMessage, edge_message, worker_message};

/// A field that no well-behaved peer sends.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("malformed message: {0}")]
pub struct Malformed(pub &'static str);

impl From<u128> for Id128 {
    fn from(value: u128) -> Self {
        Self {
            high: (value >> 64) as u64,
            low: value as u64,
        }
    }
}

/// The 128 bits of an optional id; an absent one is malformed.
///
/// # Errors
/// [`Malformed`] naming `field`.
pub fn id128(id: Option<Id128>, field: &'static str) -> Result<u128, Malformed> {
    let id = id.ok_or(Malformed(field))?;
    Ok(u128::from(id.high) << 64 | u128::from(id.low))
}

/// What of a session's claims travels beside the exchange's own fields.
pub fn session_message(claims: &SessionClaims) -> Session {
    Session {
        epoch: claims.key.epoch.get(),
        serial: claims.key.serial.get(),
        created: claims.created,
        capabilities: claims.capabilities.bits(),
        client_name: claims.client_name.clone(),
        client_version: claims.client_version.clone(),
        has_record: claims.has_record,
    }
}

/// The claims of an exchange's session; `None` for one without a session.
///
/// # Errors
/// [`Malformed`] on a zero epoch, an absent id or an unknown version code.
pub fn session_claims(open: &Open) -> Result<Option<SessionClaims>, Malformed> {
    let Some(session) = &open.session else {
        return Ok(None);
    };
    Ok(Some(SessionClaims {
        client: ClientId::from_u128(id128(open.client, "client")?),
        principal: PrincipalId::from_u128(id128(open.principal, "principal")?),
        key: SessionKey {
            epoch: Epoch::new(session.epoch).ok_or(Malformed("session epoch"))?,
            serial: Serial::new(session.serial),
        },
        created: session.created,
        version: protocol_version(open.version)?,
        capabilities: Capabilities::from_bits(session.capabilities),
        client_name: session.client_name.clone(),
        client_version: session.client_version.clone(),
        has_record: session.has_record,
    }))
}

/// The protocol version of an exchange.
///
/// # Errors
/// [`Malformed`] on a code that no version has.
pub fn protocol_version(code: u32) -> Result<ProtocolVersion, Malformed> {
    u8::try_from(code)
        .ok()
        .and_then(ProtocolVersion::from_code)
        .ok_or(Malformed("protocol version"))
}

/// Fixed part of a message's weight, in bytes: ids, lengths and tags.
const OVERHEAD: usize = 64;

impl Weight for EdgeMessage {
    fn weight(&self) -> usize {
        OVERHEAD
            + match &self.kind {
                Some(edge_message::Kind::Open(open)) => open.body.len(),
                Some(edge_message::Kind::Chunk(chunk)) => chunk.data.len(),
                _ => 0,
            }
    }
}

impl Weight for WorkerMessage {
    fn weight(&self) -> usize {
        OVERHEAD
            + match &self.kind {
                Some(worker_message::Kind::Event(event)) => event.data.len(),
                _ => 0,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ids_survive(value: u128) {
            prop_assert_eq!(id128(Some(value.into()), "id"), Ok(value));
        }
    }

    #[test]
    fn an_absent_id_names_its_field() {
        assert_eq!(id128(None, "client"), Err(Malformed("client")));
    }

    #[test]
    fn a_session_survives() {
        let claims = SessionClaims {
            client: ClientId::from_u128(1 << 100),
            principal: PrincipalId::from_u128(7),
            key: SessionKey {
                epoch: Epoch::FIRST,
                serial: Serial::new(3),
            },
            created: 1_700_000_000,
            version: ProtocolVersion::V2025_06_18,
            capabilities: Capabilities::from_bits(5),
            client_name: "c".into(),
            client_version: "1".into(),
            has_record: true,
        };
        let open = Open {
            client: Some(claims.client.as_u128().into()),
            principal: Some(claims.principal.as_u128().into()),
            version: u32::from(claims.version.code()),
            session: Some(session_message(&claims)),
            ..Open::default()
        };
        let back = session_claims(&open)
            .expect("well formed")
            .expect("a session");
        assert_eq!(back.encode(), claims.encode());
    }
}
