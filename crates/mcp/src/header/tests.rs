//! Header values, media ranges and mirrored headers, as the specification shows them.

use http::header::{ACCEPT, CONTENT_TYPE};

use super::*;
use crate::scan;

fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
    lines
        .iter()
        .map(|(name, value)| (name.clone(), value.parse().unwrap()))
        .collect()
}

fn appended(lines: &[(HeaderName, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(name, value.parse().unwrap());
    }
    map
}

#[test]
fn values_decode_as_the_specification_shows() {
    let table = [
        ("us-west1", "us-west1"),
        ("=?base64?SGVsbG8sIOS4lueVjA==?=", "Hello, 世界"),
        ("=?base64?IHBhZGRlZCA=?=", " padded "),
        ("=?base64?bGluZTEKbGluZTI=?=", "line1\nline2"),
        ("=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=", "=?base64?literal?="),
        ("=?base64??=", ""),
        ("=?BASE64?eA==?=", "=?BASE64?eA==?="),
        ("=?base64?eA==", "=?base64?eA=="),
        ("=?base64?=", "=?base64?="),
        ("", ""),
    ];
    for (sent, meant) in table {
        assert_eq!(
            decode_value(&HeaderValue::from_static(sent)).unwrap(),
            meant
        );
    }
}

#[test]
fn values_that_are_no_text_are_refused() {
    for sent in [
        "=?base64?e?=",
        "=?base64?eA?=",
        "=?base64?e A=?=",
        "=?base64?/w==?=",
    ] {
        assert!(
            decode_value(&HeaderValue::from_static(sent)).is_err(),
            "{sent}"
        );
    }
    assert!(decode_value(&HeaderValue::from_bytes(b"caf\xc3\xa9").unwrap()).is_err());
}

#[test]
fn the_version_header_is_read() {
    let read = |lines: &[(HeaderName, &str)]| protocol_version(&appended(lines));
    let name = names::MCP_PROTOCOL_VERSION;
    assert_eq!(read(&[]), Ok(None));
    for version in ProtocolVersion::ALL {
        assert_eq!(read(&[(name.clone(), version.as_str())]), Ok(Some(version)));
    }
    let requested = "1900-01-01".to_owned();
    assert_eq!(
        read(&[(name.clone(), "1900-01-01")]),
        Err(HeaderError::UnsupportedVersion { requested })
    );
    let twice = read(&[(name.clone(), "2025-06-18"), (name.clone(), "2026-07-28")]);
    assert_eq!(
        twice,
        Err(HeaderError::Repeated {
            name: name.to_string()
        })
    );
}

#[test]
fn accept_is_matched_by_media_range() {
    let both = |lines: &[&'static str]| {
        let lines: Vec<_> = lines.iter().map(|line| (ACCEPT, *line)).collect();
        let map = appended(&lines);
        (accepts_json_and_sse(&map), accepts_sse(&map))
    };
    assert_eq!(both(&["application/json, text/event-stream"]), (true, true));
    assert_eq!(
        both(&["application/json", "text/event-stream"]),
        (true, true)
    );
    assert_eq!(
        both(&["Application/JSON;q=0.9 , TEXT/Event-Stream ;q=0.1"]),
        (true, true)
    );
    assert_eq!(both(&["*/*"]), (true, true));
    assert_eq!(both(&["application/*,text/*"]), (true, true));
    assert_eq!(both(&["application/json"]), (false, false));
    assert_eq!(both(&["text/event-stream"]), (false, true));
    assert_eq!(
        both(&["text/event-streams, application/jsonp"]),
        (false, false)
    );
    assert_eq!(both(&["text, /"]), (false, false));
    assert_eq!(both(&[]), (false, false));
}

#[test]
fn only_json_is_json_content() {
    let json = |value: &str| is_json_content(&headers(&[(CONTENT_TYPE, value)]));
    assert!(json("application/json"));
    assert!(json("Application/Json; charset=utf-8"));
    assert!(!json("text/plain"));
    assert!(!json("application/json-rpc"));
    assert!(!json("application/*"));
    assert!(!is_json_content(&HeaderMap::new()));
}

fn mirrored(body: &str, lines: &[(HeaderName, &str)]) -> Result<(), HeaderError> {
    check_mirrored(&appended(lines), &scan(body.as_bytes()).unwrap())
}

fn request(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
}

#[test]
fn every_aimed_method_mirrors_its_name() {
    let aimed = [
        ("tools/call", r#"{"name":"é\n"}"#),
        ("prompts/get", r#"{"name":"é\n"}"#),
        ("resources/read", r#"{"uri":"é\n"}"#),
        ("tasks/get", r#"{"taskId":"é\n"}"#),
        ("tasks/update", r#"{"taskId":"é\n"}"#),
        ("tasks/cancel", r#"{"taskId":"é\n"}"#),
    ];
    for (method, params) in aimed {
        let body = request(method, params);
        let right = (names::MCP_METHOD, method);
        let name = |value: &'static str| (names::MCP_NAME, value);
        let same = name("=?base64?w6kK?=");
        assert_eq!(mirrored(&body, &[right.clone(), same.clone()]), Ok(()));
        assert!(mirrored(&body, std::slice::from_ref(&right)).is_err());
        assert!(mirrored(&body, &[right.clone(), name("other")]).is_err());
        assert!(mirrored(&body, &[right.clone(), same.clone(), same.clone()]).is_err());
        assert!(mirrored(&body, &[(names::MCP_METHOD, "tools/list"), same.clone()]).is_err());
        assert!(mirrored(&body, &[same]).is_err());
    }
}

#[test]
fn other_methods_mirror_only_themselves() {
    let list = request("tools/list", "{}");
    assert_eq!(
        mirrored(&list, &[(names::MCP_METHOD, "tools/list")]),
        Ok(())
    );
    assert!(mirrored(&list, &[]).is_err());
    let case = mirrored(&list, &[(names::MCP_METHOD, "Tools/List")]);
    assert!(matches!(case, Err(HeaderError::Mismatch { .. })));
}

#[test]
fn a_name_that_the_body_lacks_is_no_match() {
    let call = request("tools/call", r#"{"name":7}"#);
    let method = (names::MCP_METHOD, "tools/call");
    assert!(mirrored(&call, &[method, (names::MCP_NAME, "7")]).is_err());
}

#[test]
fn a_name_that_both_lack_is_missed() {
    for (method, member) in [
        ("tools/call", "params.name"),
        ("prompts/get", "params.name"),
        ("resources/read", "params.uri"),
        ("tasks/get", "params.taskId"),
    ] {
        let refused = mirrored(&request(method, "{}"), &[(names::MCP_METHOD, method)]);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(member), "{refused}");
    }
}

#[test]
fn notifications_may_leave_the_headers_out() {
    let note = r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#;
    assert_eq!(mirrored(note, &[]), Ok(()));
    assert!(mirrored(note, &[(names::MCP_METHOD, "other")]).is_err());
}

#[test]
fn what_we_mirror_passes_our_own_check() {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ü ","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    let call = crate::envelope::scan(body.as_bytes()).unwrap();
    let headers = mirror(&call);
    assert_eq!(check_mirrored(&headers, &call), Ok(()));
    assert_eq!(headers[names::MCP_PROTOCOL_VERSION], "2026-07-28");
    let completion = br#"{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"p"}}}"#;
    let headers = mirror(&crate::envelope::scan(completion).unwrap());
    assert!(!headers.contains_key(names::MCP_NAME));
}
