//! Batches against `serde_json`: the elements are all of them, in order, as they
//! stand in the body; whatever else comes in is refused.
#![no_main]

#[allow(dead_code, reason = "the property tests use the rest")]
#[path = "../../tests/support/json.rs"]
mod json;

use hexagram_mcp::{MAX_BATCH, ScanError, batch, is_batch};
use json::Json;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let elements = match Json::parse(body) {
        Some(Json::Array(elements)) => elements,
        Some(_) => {
            assert!(!is_batch(body));
            assert!(matches!(batch(body), Err(ScanError::NotJsonRpc { .. })));
            return;
        }
        None => {
            assert!(batch(body).is_err());
            return;
        }
    };
    assert!(is_batch(body));
    match batch(body) {
        Ok(texts) => {
            assert!(
                texts
                    .iter()
                    .all(|text| body.as_ptr_range().contains(&text.as_ptr()))
            );
            let read: Vec<_> = texts.iter().filter_map(|text| Json::parse(text)).collect();
            assert_eq!(read, elements);
        }
        Err(_) => assert!(elements.is_empty() || elements.len() > MAX_BATCH),
    }
});
