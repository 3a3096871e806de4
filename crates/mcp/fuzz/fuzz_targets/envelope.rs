//! The scan against `serde_json` and the rules; then every rewrite of what it
//! read, and era detection.
#![no_main]

#[allow(dead_code, reason = "the property tests use the rest")]
#[path = "../../tests/support/json.rs"]
mod json;
#[allow(dead_code, reason = "the property tests use the rest")]
#[path = "../../tests/support/oracle.rs"]
mod oracle;

use hexagram_mcp::{InitializeParams, capabilities_json, detect_without_headers, scan, splice};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    oracle::check(body);
    if let Ok(env) = scan(body) {
        let rewritten = [
            splice::with_id_and_progress_token(body, &env, r#""7.1""#, Some("8")),
            splice::with_progress_token(body, &env, "9"),
            splice::with_request_id(body, &env, r#""7.2""#),
            splice::with_name(body, &env, "a\"\u{1}é"),
        ];
        for body in rewritten {
            oracle::check(&body);
            assert!(scan(&body).is_ok());
        }
        if let Err(problem) = detect_without_headers(&env) {
            assert!(scan(&problem.body(env.id.map(|id| id.as_str()))).is_ok());
        }
        if let Some(Ok(params)) = env.params.map(InitializeParams::from_params) {
            assert!(capabilities_json(params.capabilities).is_object());
        }
    }
});
