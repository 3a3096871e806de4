//! The claims' bytes, what is cut from them, and when they expire.

use proptest::prelude::*;

use super::{CLOCK_SKEW_SECS, ClaimsError, SessionClaims};
use crate::testing::{any_claims, sample_claims};

#[test]
fn the_layout_never_changes() {
    let golden = [
        "01",
        "0102030405060708090a0b0c0d0e0f10",
        "9c0507b8eb04626cce0281a773f6cc09",
        "0000000000000003",
        "0000000000000011",
        "000000006ab13b80",
        "04",
        "00000045",
        "01",
        "09696e73706563746f72",
        "05312e322e33",
    ];
    let bytes = sample_claims().encode();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, golden.concat());
}

/// What decoding gives back: the same claims with cut texts.
fn assert_cut_round_trip(claims: &SessionClaims) {
    let decoded = SessionClaims::decode(&claims.encode()).unwrap();
    assert!(claims.client_name.starts_with(&decoded.client_name));
    assert!(claims.client_version.starts_with(&decoded.client_version));
    let expected = SessionClaims {
        client_name: decoded.client_name.clone(),
        client_version: decoded.client_version.clone(),
        ..claims.clone()
    };
    assert_eq!(decoded, expected);
    assert_eq!(decoded.encode(), claims.encode());
}

proptest! {
    #[test]
    fn claims_round_trip(claims in any_claims()) {
        assert_cut_round_trip(&claims);
    }

    #[test]
    fn short_texts_stay_whole(name in "\\PC{0,11}", version in "\\PC{0,5}") {
        let claims = SessionClaims {
            client_name: name,
            client_version: version,
            ..sample_claims()
        };
        prop_assert_eq!(SessionClaims::decode(&claims.encode()), Ok(claims));
    }

    /// Whatever decodes is the one encoding of what it says.
    #[test]
    fn no_second_encoding(place in 0..79_usize, byte: u8) {
        let mut bytes = sample_claims().encode();
        bytes[place] = byte;
        if let Ok(claims) = SessionClaims::decode(&bytes) {
            prop_assert_eq!(claims.encode(), bytes);
        }
    }

    #[test]
    fn outside_bytes_never_panic(bytes: Vec<u8>) {
        let _ = SessionClaims::decode(&bytes);
        let _ = SessionClaims::decode(&[&[1], &bytes[..]].concat());
    }
}

#[test]
fn texts_are_cut_at_a_character() {
    let claims = SessionClaims {
        client_name: "a".repeat(43) + "é",
        client_version: "€".repeat(7),
        ..sample_claims()
    };
    let decoded = SessionClaims::decode(&claims.encode()).unwrap();
    assert_eq!(decoded.client_name, "a".repeat(43));
    assert_eq!(decoded.client_version, "€".repeat(6));
}

#[test]
fn texts_fill_their_limits() {
    let claims = SessionClaims {
        client_name: "a".repeat(45),
        client_version: "1".repeat(21),
        ..sample_claims()
    };
    let decoded = SessionClaims::decode(&claims.encode()).unwrap();
    assert_eq!(decoded.client_name.len(), 44);
    assert_eq!(decoded.client_version.len(), 20);
    assert_eq!(claims.encode().len(), 129);
}

/// The sample with one byte changed.
fn decode_with(place: usize, byte: u8) -> Result<SessionClaims, ClaimsError> {
    let mut bytes = sample_claims().encode();
    bytes[place] = byte;
    SessionClaims::decode(&bytes)
}

#[test]
fn foreign_bytes_are_named() {
    use ClaimsError::{Malformed, UnknownLayout, UnknownVersion};
    assert_eq!(decode_with(0, 2), Err(UnknownLayout(2)));
    assert_eq!(decode_with(40, 0), Err(Malformed("epoch 0")));
    assert_eq!(decode_with(57, 6), Err(UnknownVersion(6)));
    assert_eq!(decode_with(62, 2), Err(Malformed("unknown flag")));
    assert_eq!(decode_with(63, 45), Err(Malformed("text too long")));
    assert_eq!(decode_with(64, 0xff), Err(Malformed("text not UTF-8")));
    assert_eq!(decode_with(73, 4), Err(Malformed("bytes left over")));
    assert_eq!(decode_with(73, 6), Err(Malformed("cut short")));
}

#[test]
fn every_truncation_is_refused() {
    let bytes = sample_claims().encode();
    for length in 0..bytes.len() {
        let cut = SessionClaims::decode(&bytes[..length]);
        assert_eq!(cut, Err(ClaimsError::Malformed("cut short")));
    }
}

#[test]
fn expiry_allows_for_clock_skew() {
    let claims = sample_claims();
    let day = 86_400;
    let end = claims.created + day + CLOCK_SKEW_SECS;
    let earliest = claims.created - CLOCK_SKEW_SECS;
    for valid in [earliest, claims.created, end] {
        assert!(!claims.expired(valid, day), "at {valid}");
    }
    for invalid in [0, earliest - 1, end + 1, u64::MAX] {
        assert!(claims.expired(invalid, day), "at {invalid}");
    }
    assert!(!claims.expired(u64::MAX, u64::MAX));
}
