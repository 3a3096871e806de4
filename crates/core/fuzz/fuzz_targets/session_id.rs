//! Session ids: whatever text comes in, only what was sealed opens, and claims
//! of any bytes are refused or read as they will be written.
#![no_main]

mod forge;

use std::sync::LazyLock;

use hexagram_core::{Purpose, SealError, Sealer, SessionClaims};
use libfuzzer_sys::fuzz_target;

static SEALER: LazyLock<Sealer> = LazyLock::new(forge::sealer);

fuzz_target!(|input: &[u8]| {
    for text in forge::forged(input) {
        assert!(SEALER.open_session(&text).is_err());
    }
    let token = SEALER.seal(Purpose::Session, [3; 24], input);
    if let Some(damaged) = forge::damaged(&token, input) {
        assert!(!matches!(
            SEALER.open_session(&damaged),
            Ok(_) | Err(SealError::Claims(_))
        ));
    }
    match SEALER.open_session(&token) {
        Ok(claims) => {
            let id = SEALER.seal_session([4; 24], &claims);
            assert!(id.len() < 256 && id.bytes().all(|byte| byte.is_ascii_graphic()));
            assert_eq!(SEALER.open_session(&id), Ok(claims));
        }
        Err(SealError::Claims(_)) => assert!(SessionClaims::decode(input).is_err()),
        Err(error) => assert!(error == SealError::Malformed && token.len() > 255),
    }
});
