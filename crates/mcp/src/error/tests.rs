//! The table of errors, row by row, and the replies made from it.

use std::collections::HashSet;

use super::*;

fn all() -> Vec<Problem> {
    let text = || "a \"b\"\n".to_owned();
    let retry_after_ms = 1_500;
    vec![
        Problem::ParseError { detail: text() },
        Problem::InvalidRequest { detail: text() },
        Problem::MethodNotFound { method: text() },
        Problem::InvalidParams { detail: text() },
        Problem::Internal,
        Problem::RateLimited { retry_after_ms },
        Problem::Overloaded { retry_after_ms },
        Problem::Moving { retry_after_ms },
        Problem::WorkerDown { retry_after_ms },
        Problem::StoreAway { retry_after_ms },
        Problem::Draining { retry_after_ms },
        Problem::OutcomeUnknown {
            detail: text(),
            upstream: None,
        },
        Problem::UpstreamUnavailable {
            upstream: text(),
            detail: text(),
        },
        Problem::ShardQuarantined { retry_after_ms: 1 },
        Problem::NotAcrossEras { what: text() },
        Problem::HeaderMismatch { detail: text() },
        Problem::MissingClientCapability {
            required: json!({ "sampling": {} }),
        },
        Problem::UnsupportedVersion { requested: text() },
        Problem::SessionNotFound,
        Problem::SessionRequired,
        Problem::Unauthorized,
        Problem::ForbiddenOrigin,
        Problem::ForbiddenHost,
        Problem::NotAcceptable,
        Problem::UnsupportedMediaType,
        Problem::TooLarge { limit: 1 },
        Problem::NotFound { path: "/x".into() },
        Problem::MethodNotAllowed { allowed: "POST" },
    ]
}

#[test]
fn codes_stay_in_their_ranges_and_reasons_are_distinct() {
    let standard = [-32700, -32600, -32601, -32602, -32603];
    let mut reasons = HashSet::new();
    for problem in all() {
        let code = problem.code();
        assert!(
            (-32022..=-32000).contains(&code) || standard.contains(&code),
            "{problem:?}"
        );
        let word = problem.reason();
        assert!(
            word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
            "{word}"
        );
        assert!(reasons.insert(word), "{word} twice");
    }
}

#[test]
fn the_table_is_the_designs() {
    let rows: Vec<_> = all().iter().map(Problem::row).collect();
    let row = |reason: &str| {
        let (status, code, _) = rows.iter().find(|row| row.2 == reason).unwrap();
        (status.as_u16(), *code)
    };
    assert_eq!(row("rate_limited"), (429, -32010));
    for reason in [
        "overloaded",
        "moving",
        "worker_down",
        "store_unavailable",
        "draining",
    ] {
        assert_eq!(row(reason), (503, -32011));
    }
    assert_eq!(row("outcome_unknown").1, -32012);
    assert_eq!(row("upstream_unavailable"), (502, -32013));
    assert_eq!(row("shard_quarantined"), (503, -32014));
    assert_eq!(row("not_across_eras").1, -32015);
    assert_eq!(row("header_mismatch"), (400, -32020));
    assert_eq!(row("missing_client_capability"), (400, -32021));
    assert_eq!(row("unsupported_version"), (400, -32022));
    assert_eq!(row("parse_error"), (400, -32700));
    assert_eq!(row("invalid_request"), (400, -32600));
    assert_eq!(row("method_not_found"), (404, -32601));
    assert_eq!(row("session_not_found").0, 404);
    assert_eq!(row("too_large").0, 413);
}

#[test]
fn every_body_is_a_complete_error_response() {
    for problem in all() {
        let body = problem.body(Some(r#""a\"b""#));
        let reply: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(reply["jsonrpc"], "2.0");
        assert_eq!(reply["id"], "a\"b");
        let error = &reply["error"];
        assert_eq!(error["code"], problem.code());
        assert_eq!(error["message"], problem.to_string());
        assert_eq!(error["data"]["reason"], problem.reason());
        assert_eq!(
            error["data"]["retryAfterMs"].as_u64(),
            problem.retry_after_ms()
        );
        assert!(crate::scan(&body).is_ok());
    }
}

#[test]
fn data_holds_what_the_client_acts_on() {
    let data = |problem: &Problem| {
        let reply: Value = serde_json::from_slice(&problem.body(None)).unwrap();
        assert_eq!(reply["id"], Value::Null);
        reply["error"]["data"].clone()
    };
    let upstream = "docs".to_owned();
    let detail = String::new();
    assert_eq!(
        data(&Problem::UpstreamUnavailable { upstream, detail })["upstream"],
        "docs"
    );
    let required = json!({ "elicitation": {} });
    let missing = Problem::MissingClientCapability {
        required: required.clone(),
    };
    assert_eq!(data(&missing)["requiredCapabilities"], required);
    let unsupported = data(&Problem::UnsupportedVersion {
        requested: "1900-01-01".to_owned(),
    });
    assert_eq!(unsupported["requested"], "1900-01-01");
    assert_eq!(unsupported["supported"].as_array().map(Vec::len), Some(5));
}

#[test]
fn a_scan_error_tells_json_from_json_rpc() {
    let code = |body: &[u8]| Problem::from(crate::scan(body).unwrap_err()).code();
    assert_eq!(code(b"{"), -32700);
    assert_eq!(code(b"{}"), -32600);
}
