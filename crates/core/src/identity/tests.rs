//! Golden vectors of the ids, and that different inputs stay apart.

use std::collections::HashSet;

use crate::{ClientId, Principal, PrincipalId, PrincipalKind};

const NONCE: u128 = 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10;

fn alice() -> PrincipalId {
    Principal::new(PrincipalKind::ApiKey, "alice").id()
}

/// Cross-checked with another SHA-256.
#[test]
fn principal_ids_never_change() {
    let golden = [
        (Principal::anonymous(), "9cf5782ffb810de1f260a9f3ebffd1cb"),
        (
            Principal::new(PrincipalKind::ApiKey, "alice"),
            "9c0507b8eb04626cce0281a773f6cc09",
        ),
        (
            Principal::new(PrincipalKind::ApiKey, "Zoë"),
            "262b9692dd98fb58164d8c6a9c17929b",
        ),
        (
            Principal::new(PrincipalKind::TrustedHeader, "alice"),
            "d2d92dad4b3d28e401c69a8e3d726a14",
        ),
    ];
    for (principal, id) in golden {
        assert_eq!(principal.id().to_string(), id, "{principal}");
    }
}

/// Cross-checked with another SHA-256.
#[test]
fn client_ids_never_change() {
    let golden = [
        (
            ClientId::for_session(alice(), NONCE),
            "adb02e9d21cd17706c2c3fc1d82d07ca",
        ),
        (
            ClientId::for_slot(alice(), 15),
            "8a527510552a1b5e0f50a02ecc608ab4",
        ),
        (
            ClientId::named(alice(), b"tenant-7"),
            "656a252736f5f9da5e0e76ec9f4ad709",
        ),
        (ClientId::random(NONCE), "12ae5ca8a2b06dc8d793fbabfec86509"),
    ];
    for (client, id) in golden {
        assert_eq!(client.to_string(), id);
    }
}

#[test]
fn the_same_bytes_in_another_role_are_another_client() {
    let slot = 15_u16;
    let clients = HashSet::from([
        ClientId::for_slot(alice(), slot),
        ClientId::named(alice(), &slot.to_be_bytes()),
        ClientId::for_session(alice(), NONCE),
        ClientId::named(alice(), &NONCE.to_be_bytes()),
        ClientId::random(NONCE),
        ClientId::random(alice().as_u128()),
        ClientId::named(alice(), b""),
    ]);
    assert_eq!(clients.len(), 7);
}

#[test]
fn a_header_never_reaches_another_principals_client() {
    let bob = Principal::new(PrincipalKind::ApiKey, "bob").id();
    assert_ne!(
        ClientId::named(alice(), b"tenant-7"),
        ClientId::named(bob, b"tenant-7")
    );
}

#[test]
fn nobody_has_no_name() {
    let named = Principal::new(PrincipalKind::Anonymous, "mallory");
    assert_eq!(named, Principal::anonymous());
    assert_eq!(named.name(), "");
}

#[test]
fn numbers_survive_the_wire() {
    let client = ClientId::from_u128(NONCE);
    assert_eq!(client.as_u128(), NONCE);
    assert_eq!(PrincipalId::from_u128(alice().as_u128()), alice());
    assert_eq!(ClientId::from_u128(1).to_string(), format!("{:032}", 1));
}
