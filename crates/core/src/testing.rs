//! Values that several test modules share.

use proptest::prelude::*;

use crate::{
    Capabilities, ClientId, Epoch, Principal, PrincipalId, PrincipalKind, ProtocolVersion, Serial,
    SessionClaims, SessionKey,
};

/// Ordinary claims.
pub(crate) fn sample_claims() -> SessionClaims {
    SessionClaims {
        client: ClientId::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
        principal: Principal::new(PrincipalKind::ApiKey, "alice").id(),
        key: SessionKey {
            epoch: Epoch::new(3).unwrap(),
            serial: Serial::new(17),
        },
        created: 1_790_000_000,
        version: ProtocolVersion::V2025_11_25,
        capabilities: Capabilities::ROOTS
            .union(Capabilities::SAMPLING)
            .union(Capabilities::ELICITATION_URL),
        client_name: "inspector".into(),
        client_version: "1.2.3".into(),
        has_record: true,
    }
}

fn any_key() -> impl Strategy<Value = SessionKey> {
    (1..=u64::MAX, any::<u64>()).prop_filter_map("epoch 0", |(epoch, serial)| {
        let epoch = Epoch::new(epoch)?;
        let serial = Serial::new(serial);
        Some(SessionKey { epoch, serial })
    })
}

prop_compose! {
    /// Claims with any numbers, and texts below, at and above their limits.
    pub(crate) fn any_claims()(
        client: u128,
        principal: u128,
        key in any_key(),
        created: u64,
        version in prop::sample::select(&ProtocolVersion::ALL[..]),
        bits: u32,
        client_name in "\\PC{0,60}",
        client_version in "\\PC{0,30}",
        has_record: bool,
    ) -> SessionClaims {
        SessionClaims {
            client: ClientId::from_u128(client),
            principal: PrincipalId::from_u128(principal),
            key,
            created,
            version,
            capabilities: Capabilities::from_bits(bits),
            client_name,
            client_version,
            has_record,
        }
    }
}
