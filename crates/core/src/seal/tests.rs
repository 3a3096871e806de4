//! What opens a token, and that nothing else does.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;

use super::{Purpose, SealError, Sealer};
use crate::testing::{any_claims, sample_claims};
use crate::{Capabilities, ClientId, Epoch, KeyRing, PrincipalId, Serial, SessionClaims};

const NONCE: [u8; 24] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,
];

fn ring(id: u8) -> KeyRing {
    KeyRing::generate(id, std::array::from_fn(|place| place as u8))
}

fn sealer() -> Sealer {
    Sealer::new(&ring(9), "prod")
}

/// Cross-checked with another implementation of HKDF and of the cipher.
#[test]
fn tokens_never_change() {
    let task = "AQkAAQIDBAUGBwgJCgsMDQ4PEBESExQVFhdDtZNJVEzkboX_NhoDqXgxNKfRjYzi";
    assert_eq!(sealer().seal(Purpose::Task, NONCE, b"task 9"), task);
    let session = concat!(
        "AQkAAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcL71W8Y9wsRG14eBzYVQKAfVXPWkEZ-If-IhN3",
        "AJKTGlc_3IulmkqyCTs_nzpN7Z9XT6wt1UVtLsQ8AL4ch2zPgKu-NL0KVbyUKKb3oUB8BVIb",
        "xyFGwfG0FAdbcYv3Hw",
    );
    assert_eq!(sealer().seal_session(NONCE, &sample_claims()), session);
    assert_eq!(sealer().open_session(session), Ok(sample_claims()));
}

proptest! {
    #[test]
    fn any_message_round_trips(plain: Vec<u8>, nonce: [u8; 24]) {
        for purpose in Purpose::ALL {
            let token = sealer().seal(purpose, nonce, &plain);
            prop_assert_eq!(sealer().open(purpose, &token), Ok(plain.clone()));
        }
    }

    #[test]
    fn claims_round_trip(claims in any_claims(), nonce: [u8; 24]) {
        let opened = sealer().open_session(&sealer().seal_session(nonce, &claims));
        prop_assert_eq!(opened.unwrap().encode(), claims.encode());
    }

    #[test]
    fn a_session_id_is_short_and_visible(claims in any_claims(), nonce: [u8; 24]) {
        assert_short_and_visible(&sealer().seal_session(nonce, &claims));
    }

    #[test]
    fn a_flipped_bit_of_any_token_is_refused(claims in any_claims(), nonce: [u8; 24], at: prop::sample::Index) {
        let token = sealer().seal_session(nonce, &claims);
        let mut raw = URL_SAFE_NO_PAD.decode(token).unwrap();
        let bit = at.index(raw.len() * 8);
        raw[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(sealer().open_session(&URL_SAFE_NO_PAD.encode(raw)).is_err());
    }

    #[test]
    fn outside_text_never_opens_nor_panics(text in "\\PC*", raw: Vec<u8>) {
        prop_assert!(sealer().open_session(&text).is_err());
        let framed = URL_SAFE_NO_PAD.encode([&[1, 9], &raw[..]].concat());
        prop_assert!(sealer().open(Purpose::Event, &framed).is_err());
    }
}

fn assert_short_and_visible(token: &str) {
    assert!(token.len() < 256, "{} characters", token.len());
    assert!(token.bytes().all(|byte| byte.is_ascii_graphic()));
}

#[test]
fn the_largest_claims_fit() {
    let mut claims = SessionClaims {
        client: ClientId::from_u128(u128::MAX),
        principal: PrincipalId::from_u128(u128::MAX),
        created: u64::MAX,
        capabilities: Capabilities::from_bits(u32::MAX),
        client_name: "n".repeat(1000),
        client_version: "v".repeat(1000),
        ..sample_claims()
    };
    claims.key.epoch = Epoch::new(u64::MAX).unwrap();
    claims.key.serial = Serial::new(u64::MAX);
    let token = sealer().seal_session([0xff; 24], &claims);
    assert_short_and_visible(&token);
    assert_eq!(token.len(), 228);
}

/// Every bit of the token's bytes, and every bit of its characters: the second
/// includes the unused bits of the last one.
#[test]
fn every_flipped_bit_is_refused() {
    let token = sealer().seal_session(NONCE, &sample_claims());
    let raw = URL_SAFE_NO_PAD.decode(&token).unwrap();
    for flipped in flips(&raw, 8) {
        let text = URL_SAFE_NO_PAD.encode(flipped);
        assert!(sealer().open_session(&text).is_err(), "{text}");
    }
    for flipped in flips(token.as_bytes(), 7) {
        let text = String::from_utf8(flipped).unwrap();
        assert!(sealer().open_session(&text).is_err(), "{text}");
    }
}

fn flips(bytes: &[u8], width: usize) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len() * width).map(move |bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / width] ^= 1 << (bit % width);
        flipped
    })
}

#[test]
fn a_second_spelling_is_refused() {
    // 42 + 34 bytes are one more than a multiple of 3: the last digit has spare bits.
    let token = sealer().seal(Purpose::Event, NONCE, &[0; 34]);
    let last = token.chars().next_back().unwrap();
    let respelled = token.strip_suffix(last).unwrap().to_owned() + &next_spelling(last);
    let refused = Err(SealError::Malformed);
    assert_eq!(sealer().open(Purpose::Event, &respelled), refused);
    assert_eq!(
        sealer().open(Purpose::Event, &(token.clone() + "==")),
        refused
    );
    assert_eq!(sealer().open(Purpose::Event, &format!(" {token}")), refused);
}

/// The base64url digit after `digit`: the same bytes, other spare bits.
fn next_spelling(digit: char) -> String {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (_, after) = alphabet.split_once(digit).unwrap();
    after.chars().take(1).collect()
}

#[test]
fn only_its_own_purpose_opens_a_token() {
    for purpose in Purpose::ALL {
        let token = sealer().seal(purpose, NONCE, b"x");
        for other in Purpose::ALL {
            let opened = sealer().open(other, &token);
            assert_eq!(opened.is_ok(), other == purpose, "{purpose:?} as {other:?}");
        }
    }
}

#[test]
fn another_cluster_or_key_opens_nothing() {
    let token = sealer().seal_session(NONCE, &sample_claims());
    for cluster in ["", "pro", "prod2", "stage"] {
        let other = Sealer::new(&ring(9), cluster);
        assert_eq!(other.open_session(&token), Err(SealError::Forged));
    }
    let same_id = Sealer::new(&KeyRing::generate(9, [1; 32]), "prod");
    assert_eq!(same_id.open_session(&token), Err(SealError::Forged));
    let other_id = Sealer::new(&ring(8), "prod");
    assert_eq!(other_id.open_session(&token), Err(SealError::UnknownKey(9)));
}

#[test]
fn keys_rotate_without_a_gap() {
    let old = KeyRing::generate(1, [1; 32]).to_text();
    let new = KeyRing::generate(2, [2; 32]).to_text();
    let open = |text: &str, token: &str| {
        Sealer::new(&KeyRing::parse(text).unwrap(), "prod").open_session(token)
    };
    let seal = |text: &str| {
        Sealer::new(&KeyRing::parse(text).unwrap(), "prod").seal_session(NONCE, &sample_claims())
    };
    let (accept, mint) = (old.clone() + &new, new.clone() + &old);

    assert_eq!(open(&accept, &seal(&mint)), Ok(sample_claims()));
    assert_eq!(open(&mint, &seal(&accept)), Ok(sample_claims()));
    assert_eq!(open(&new, &seal(&mint)), Ok(sample_claims()));
    assert_eq!(open(&new, &seal(&accept)), Err(SealError::UnknownKey(1)));
    assert_eq!(open(&old, &seal(&mint)), Err(SealError::UnknownKey(2)));
}

#[test]
fn what_is_no_token_is_named() {
    let open = |raw: &[u8]| sealer().open(Purpose::Session, &URL_SAFE_NO_PAD.encode(raw));
    assert_eq!(open(&[]), Err(SealError::Malformed));
    assert_eq!(open(&[1]), Err(SealError::Malformed));
    assert_eq!(open(&[2; 60]), Err(SealError::UnknownFormat(2)));
    assert_eq!(open(&[1; 60]), Err(SealError::UnknownKey(1)));
    let mut frame = vec![1, 9];
    frame.resize(41, 0);
    assert_eq!(open(&frame), Err(SealError::Malformed));
    frame.push(0);
    assert_eq!(open(&frame), Err(SealError::Forged));
}

#[test]
fn a_long_session_id_is_refused_unread() {
    let event = sealer().seal(Purpose::Session, NONCE, &[0; 150]);
    assert_eq!(event.len(), 256);
    assert_eq!(sealer().open_session(&event), Err(SealError::Malformed));
}

#[test]
fn genuine_claims_of_another_release_are_told_apart() {
    let token = sealer().seal(Purpose::Session, NONCE, &[9]);
    let error = sealer().open_session(&token).unwrap_err();
    assert!(matches!(error, SealError::Claims(_)), "{error}");
}

#[test]
fn debug_shows_no_key() {
    let sealer = Sealer::new(&KeyRing::generate(1, [0xee; 32]), "prod");
    let shown = format!("{sealer:?}");
    assert!(shown.contains("id: 1"), "{shown}");
    assert!(
        !shown.contains("238, 238") && !shown.contains("eeee"),
        "{shown}"
    );
}

#[test]
fn a_ring_is_known_by_its_fingerprints() {
    let old = KeyRing::generate(1, [1; 32]);
    let new = KeyRing::generate(2, [2; 32]);
    let both = KeyRing::parse(&(new.to_text() + &old.to_text())).unwrap();
    let of = |ring: &KeyRing| Sealer::new(ring, "prod").fingerprints();
    assert_eq!(of(&both), [of(&new), of(&old)].concat());
    assert_ne!(of(&old), of(&KeyRing::generate(1, [3; 32])));
    assert_ne!(of(&old), of(&KeyRing::generate(3, [1; 32])));
}

/// Processes of neighbouring releases compare them. Cross-checked with another
/// implementation of HKDF.
#[test]
fn fingerprints_never_change() {
    assert_eq!(sealer().fingerprints(), [0xe433_d217_87d0_be96]);
}

#[test]
fn a_ring_is_taken_over_while_tokens_are_out() {
    let (old, new) = (KeyRing::generate(1, [1; 32]), KeyRing::generate(2, [2; 32]));
    let sealer = Sealer::new(&old, "prod");
    let before = sealer.seal(Purpose::Task, NONCE, b"before");
    sealer.take(&KeyRing::parse(&(new.to_text() + &old.to_text())).unwrap());
    let after = sealer.seal(Purpose::Task, NONCE, b"after");
    assert_eq!(sealer.open(Purpose::Task, &before).unwrap(), b"before");
    assert_eq!(
        Sealer::new(&new, "prod").open(Purpose::Task, &after),
        Ok(b"after".to_vec())
    );
    sealer.take(&new);
    assert_eq!(
        sealer.open(Purpose::Task, &before),
        Err(SealError::UnknownKey(1))
    );
    assert_eq!(sealer.fingerprints(), new.fingerprints());
}
