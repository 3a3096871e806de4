//! Headers of any bytes around a fixed call: `name: value` lines. And any text
//! as a header's value.
#![no_main]

use hexagram_mcp::{Opening, Problem, detect, header, scan};
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

const CALL: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a b","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;

fn headers(input: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in input.split(|&byte| byte == b'\n') {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            continue;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    headers
}

fn check_round_trip(text: &str) {
    let value: HeaderValue = header::encode_value(text).parse().expect("visible ASCII");
    assert_eq!(header::decode_value(&value).as_deref(), Ok(text));
}

fuzz_target!(|input: &[u8]| {
    check_round_trip(&String::from_utf8_lossy(input));
    let headers = headers(input);
    let env = scan(CALL).expect("a valid call");
    for value in headers.values() {
        if let Ok(text) = header::decode_value(value) {
            assert!(value.as_bytes().starts_with(b"=?base64?") || value == &*text);
            check_round_trip(&text);
        }
    }
    let only = |name: HeaderName, expected: &str| {
        let values: Vec<_> = headers.get_all(name).iter().collect();
        matches!(&values[..], [value] if header::decode_value(value).is_ok_and(|text| text == expected))
    };
    if header::check_mirrored(&headers, &env).is_ok() {
        assert!(only(header::names::MCP_METHOD, "tools/call"));
        assert!(only(header::names::MCP_NAME, "a b"));
    }
    match detect(&headers, &env) {
        Ok(opening) => {
            assert!(matches!(opening, Opening::Modern(_)));
            assert!(only(header::names::MCP_PROTOCOL_VERSION, "2026-07-28"));
        }
        Err(problem) => assert!(matches!(problem, Problem::HeaderMismatch { .. })),
    }
    assert!(!header::accepts_json_and_sse(&headers) || header::accepts_sse(&headers));
    let _ = header::is_json_content(&headers);
});
