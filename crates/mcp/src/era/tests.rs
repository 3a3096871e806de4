//! Each rule of the era decision, and what a probing client gets to see.

use super::*;
use crate::scan;

const MODERN: &str = "2026-07-28";
const LEGACY: &str = "2025-11-25";

/// A request whose `_meta` holds `version` and, with it, the capabilities.
fn request(method: &str, version: Option<&str>) -> String {
    let key = "io.modelcontextprotocol";
    let meta = version.map_or(String::new(), |version| {
        format!(r#""{key}/protocolVersion":"{version}","{key}/clientCapabilities":{{}}"#)
    });
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"protocolVersion":"x","_meta":{{{meta}}}}}}}"#
    )
}

fn headers(version: Option<&str>) -> HeaderMap {
    let line = |version: &str| (names::MCP_PROTOCOL_VERSION, version.parse().unwrap());
    version.map(line).into_iter().collect()
}

fn opening(header: Option<&str>, body: &str) -> Result<Opening, Problem> {
    detect(&headers(header), &scan(body.as_bytes()).unwrap())
}

/// What `detect` says: the opening's name or the problem's reason.
fn verdict(header: Option<&str>, body: &str) -> &'static str {
    match opening(header, body) {
        Ok(Opening::LegacyInitialize { .. }) => "initialize",
        Ok(Opening::LegacyMessage) => "legacy",
        Ok(Opening::Modern(_)) => "modern",
        Err(problem) => problem.reason(),
    }
}

#[test]
fn header_and_meta_decide_together() {
    let table = [
        (None, None, "legacy"),
        (Some(LEGACY), None, "legacy"),
        (None, Some(LEGACY), "legacy"),
        (Some(LEGACY), Some(LEGACY), "legacy"),
        (Some(MODERN), Some(MODERN), "modern"),
        (Some(MODERN), None, "invalid_params"),
        (None, Some(MODERN), "header_mismatch"),
        (Some(LEGACY), Some(MODERN), "header_mismatch"),
        (Some(MODERN), Some(LEGACY), "header_mismatch"),
        (Some(MODERN), Some("1900-01-01"), "header_mismatch"),
        (
            Some("1900-01-01"),
            Some("1900-01-01"),
            "unsupported_version",
        ),
        (Some("2027-01-01"), None, "unsupported_version"),
        (None, Some("2027-01-01"), "unsupported_version"),
    ];
    for method in ["tools/call", "server/discover"] {
        for (header, meta, expected) in table {
            let body = request(method, meta);
            assert_eq!(
                verdict(header, &body),
                expected,
                "{method} {header:?} {meta:?}"
            );
        }
    }
}

#[test]
fn initialize_without_meta_opens_a_session_whatever_the_header() {
    for header in [None, Some(LEGACY), Some(MODERN), Some("garbage")] {
        let opened = opening(header, &request("initialize", None));
        assert_eq!(
            opened,
            Ok(Opening::LegacyInitialize {
                requested: "x".to_owned()
            })
        );
    }
}

#[test]
fn initialize_must_name_a_version() {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;
    assert_eq!(verdict(None, body), "invalid_params");
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#;
    assert_eq!(verdict(None, body), "invalid_params");
}

#[test]
fn methods_of_the_legacy_era_are_unknown_to_the_modern_one() {
    for method in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
    ] {
        let problem = opening(Some(MODERN), &request(method, Some(MODERN))).unwrap_err();
        assert_eq!(
            (problem.http_status().as_u16(), problem.code()),
            (404, -32601),
            "{method}"
        );
        let alone = if method == "initialize" {
            "initialize"
        } else {
            "legacy"
        };
        assert_eq!(verdict(None, &request(method, None)), alone);
    }
}

#[test]
fn a_modern_request_needs_its_capabilities() {
    for capabilities in ["", r#","io.modelcontextprotocol/clientCapabilities":null"#] {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"_meta":{{"io.modelcontextprotocol/protocolVersion":"{MODERN}"{capabilities}}}}}}}"#
        );
        let problem = opening(Some(MODERN), &body).unwrap_err();
        assert_eq!(
            (problem.http_status().as_u16(), problem.code()),
            (400, -32602)
        );
        assert!(problem.to_string().contains("clientCapabilities"));
    }
}

#[test]
fn a_modern_notification_needs_no_meta_and_a_response_has_no_place() {
    let note = r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#;
    assert_eq!(verdict(Some(MODERN), note), "modern");
    assert_eq!(verdict(None, note), "legacy");
    let response = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    assert_eq!(verdict(Some(MODERN), response), "invalid_request");
    assert_eq!(verdict(Some(LEGACY), response), "legacy");
}

#[test]
fn the_version_header_must_be_one_text() {
    let mut headers = headers(Some(MODERN));
    headers.append(names::MCP_PROTOCOL_VERSION, LEGACY.parse().unwrap());
    let body = request("tools/list", Some(MODERN));
    let problem = detect(&headers, &scan(body.as_bytes()).unwrap()).unwrap_err();
    assert_eq!(problem.reason(), "header_mismatch");
}

#[test]
fn without_headers_the_meta_decides() {
    let opening = |body: &str| detect_without_headers(&scan(body.as_bytes()).unwrap());
    assert_eq!(
        opening(&request("tools/list", Some(MODERN))),
        Ok(Opening::Modern(ProtocolVersion::V2026_07_28))
    );
    assert_eq!(
        opening(&request("tools/list", None)),
        Ok(Opening::LegacyMessage)
    );
    let requested = "x".to_owned();
    assert_eq!(
        opening(&request("initialize", None)),
        Ok(Opening::LegacyInitialize { requested })
    );
    assert!(opening(&request("initialize", Some(MODERN))).is_err());
}

/// Streamable HTTP, "Backward Compatibility": a client falls back to
/// `initialize` on a 400 that carries no modern error, and retries on -32022.
#[test]
fn a_probe_can_go_on() {
    let future = opening(
        Some("2099-01-01"),
        &request("server/discover", Some("2099-01-01")),
    );
    let body = future.unwrap_err().body(Some("1"));
    let reply: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(reply["error"]["code"], -32022);
    assert_eq!(reply["error"]["data"]["requested"], "2099-01-01");
    assert!(
        reply["error"]["data"]["supported"]
            .as_array()
            .unwrap()
            .contains(&MODERN.into())
    );

    assert_eq!(
        opening(None, &request("server/discover", None)),
        Ok(Opening::LegacyMessage)
    );
    assert_eq!(Problem::SessionRequired.http_status().as_u16(), 400);
    assert!(!(-32099..=-32020).contains(&Problem::SessionRequired.code()));
}

#[test]
fn negotiation_never_answers_a_modern_version() {
    for version in ProtocolVersion::ALL {
        let answer = negotiate(version.as_str());
        assert_eq!(answer.era(), Era::Legacy);
        if version.era() == Era::Legacy {
            assert_eq!(answer, version);
        }
    }
    for other in ["2024-10-07", "2099-01-01", "", "garbage"] {
        assert_eq!(negotiate(other), ProtocolVersion::LATEST_LEGACY);
    }
}

#[test]
fn a_handle_that_is_no_string_is_named() {
    let key = "io.modelcontextprotocol";
    let ask = |method: &str, member: &str, value: &str| {
        let meta = format!(r#""{key}/protocolVersion":"{MODERN}","{key}/clientCapabilities":{{}}"#);
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"{member}":{value},"_meta":{{{meta}}}}}}}"#
        );
        opening(Some(MODERN), &body).map_err(|problem| problem.to_string())
    };
    for value in ["7", "null", "{}", "[\"x\"]", "true"] {
        for (method, member) in [("tools/call", "requestState"), ("tasks/get", "taskId")] {
            let refused = ask(method, member, value).unwrap_err();
            assert!(refused.contains(&format!("params.{member}")), "{refused}");
        }
        assert!(ask("tools/call", "taskId", value).is_ok(), "none of it");
    }
    assert!(ask("tools/call", "requestState", "\"x\"").is_ok());
}
