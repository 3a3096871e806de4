//! Handles (request state, task ids): whatever text comes in, only what was
//! sealed opens, for its own purpose, and a layout is read in one way only.
#![no_main]

mod forge;

use std::sync::LazyLock;

use hexagram_core::{Handle, HandleError, Purpose, Sealer};
use libfuzzer_sys::fuzz_target;

static SEALER: LazyLock<Sealer> = LazyLock::new(forge::sealer);
const NONCE: [u8; 24] = [3; 24];

fuzz_target!(|input: &[u8]| {
    for (purpose, other) in [
        (Purpose::RequestState, Purpose::Task),
        (Purpose::Task, Purpose::RequestState),
    ] {
        for text in forge::forged(input) {
            assert!(Handle::open(&SEALER, purpose, &text).is_err());
        }
        let token = SEALER.seal(purpose, NONCE, input);
        assert!(Handle::open(&SEALER, other, &token).is_err());
        if let Some(damaged) = forge::damaged(&token, input) {
            let refused = Handle::open(&SEALER, purpose, &damaged);
            assert!(matches!(refused, Err(HandleError::Seal(_))));
        }
        match Handle::open(&SEALER, purpose, &token) {
            Ok(handle) => assert_eq!(handle.seal(&SEALER, purpose, NONCE), token),
            Err(error) => assert_eq!(error, HandleError::Layout),
        }
    }
});
