//! `scan` against `serde_json` and the rules, on messages of every kind.

mod support;

use hexagram_mcp::{
    JsonRule, Kind, MAX_BATCH, MAX_DEPTH, RpcFault, ScanError, batch, is_batch, scan,
};
use proptest::prelude::*;
use support::messages::{damage, damaged, doubtful, spelt, valid, value};
use support::oracle;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_keeps_the_rules_is_read((tree, body) in spelt(valid())) {
        prop_assert!(oracle::obeys(&tree));
        prop_assert!(scan(&body).is_ok(), "{}", String::from_utf8_lossy(&body));
        oracle::check(&body);
    }

    #[test]
    fn what_may_break_the_rules_is_judged_alike((_, body) in spelt(doubtful())) {
        oracle::check(&body);
    }

    #[test]
    fn damaged_messages_are_judged_alike((_, body) in spelt(valid()), damage in damage()) {
        oracle::check(&damaged(body, &damage));
    }

    #[test]
    fn damaged_values_are_judged_alike((_, body) in spelt(value()), damage in damage()) {
        oracle::check(&body);
        oracle::check(&damaged(body, &damage));
    }

    #[test]
    fn any_bytes_are_judged_alike(body in proptest::collection::vec(any::<u8>(), 0..64)) {
        oracle::check(&body);
    }

    #[test]
    fn any_number_is_judged_alike(number in "-?[0-9]{0,25}(\\.[0-9]{0,25})?([eE][+-]?[0-9]{0,4})?") {
        oracle::check(number.as_bytes());
        oracle::check(format!(r#"{{"jsonrpc":"2.0","method":"ping","id":{number}}}"#).as_bytes());
    }

    #[test]
    fn batches_are_cut_into_their_elements(elements in proptest::collection::vec(spelt(value()), 0..80)) {
        let texts: Vec<_> = elements.iter().map(|(_, text)| std::str::from_utf8(text).unwrap()).collect();
        let body = format!(" [{}] ", texts.join(","));
        prop_assert!(is_batch(body.as_bytes()));
        let cut = batch(body.as_bytes());
        match elements.len() {
            0 => prop_assert_eq!(cut, Err(refused(RpcFault::EmptyBatch))),
            1..=MAX_BATCH => {
                let blank = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
                let trimmed: Vec<_> = texts.iter().map(|t| t.trim_matches(blank).as_bytes()).collect();
                prop_assert_eq!(cut, Ok(trimmed));
            }
            _ => prop_assert_eq!(cut, Err(refused(RpcFault::LongBatch))),
        }
    }
}

fn refused(fault: RpcFault) -> ScanError {
    ScanError::NotJsonRpc { id: None, fault }
}

#[test]
fn nesting_is_limited_as_in_serde_json() {
    for depth in 1..300 {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let body = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            oracle::check(body.as_bytes());
            oracle::check(open.repeat(depth).as_bytes());
            let below = format!(r#"{{"jsonrpc":"2.0","method":"m","params":{{"x":{body}}}}}"#);
            oracle::check(below.as_bytes());
            let fits = depth + 2 <= usize::try_from(MAX_DEPTH).unwrap();
            assert_eq!(scan(below.as_bytes()).is_ok(), fits, "{depth}");
        }
    }
}

#[test]
fn a_megabyte_of_brackets_is_refused_early() {
    let Err(ScanError::NotJson { offset, what }) = scan(&vec![b'['; 1 << 20]) else {
        panic!("accepted");
    };
    assert_eq!((offset, what), (127, JsonRule::Depth));
}

#[test]
fn strings_end_where_they_end_at_every_offset() {
    for len in 0..120 {
        for special in [
            "\"",
            "\\n",
            "\\\"",
            "\u{1f}",
            "\u{7f}",
            "é",
            "\\",
            "\\ud800\\udc00",
            "\\udc00",
        ] {
            let body = format!(r#"["{}{special}{}"]"#, "a".repeat(len), "b".repeat(40));
            oracle::check(body.as_bytes());
        }
    }
}

#[test]
fn each_broken_rule_has_its_fault() {
    let long_id = format!("{}0", i64::MAX);
    let with_id = |id: &str| format!(r#"{{"jsonrpc":"2.0","method":"ping","id":{id}}}"#);
    let table = [
        ("[]".to_owned(), RpcFault::NotAnObject),
        (r#"{"method":"ping","id":1}"#.to_owned(), RpcFault::Version),
        (
            r#"{"jsonrpc":2.0,"method":"ping","id":1}"#.to_owned(),
            RpcFault::Version,
        ),
        (
            r#"{"jsonrpc":"2.0","method":"a","m\u0065thod":"b"}"#.to_owned(),
            RpcFault::Duplicate,
        ),
        (
            r#"{"jsonrpc":"2.0","method":"a","params":{"name":1,"name":2}}"#.to_owned(),
            RpcFault::Duplicate,
        ),
        (with_id("1.5"), RpcFault::Id),
        (with_id("1e3"), RpcFault::Id),
        (with_id("-0"), RpcFault::Id),
        (with_id(&long_id), RpcFault::Id),
        (with_id("[]"), RpcFault::Id),
        (with_id("null"), RpcFault::NullId),
        (
            r#"{"jsonrpc":"2.0","result":{}}"#.to_owned(),
            RpcFault::MissingId,
        ),
        (
            r#"{"jsonrpc":"2.0","method":7}"#.to_owned(),
            RpcFault::Method,
        ),
        (
            r#"{"jsonrpc":"2.0","method":"ping","params":[]}"#.to_owned(),
            RpcFault::Params,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"error":"x"}"#.to_owned(),
            RpcFault::Error,
        ),
        (r#"{"jsonrpc":"2.0","id":1}"#.to_owned(), RpcFault::Empty),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#.to_owned(),
            RpcFault::Mixed,
        ),
    ];
    for (body, expected) in table {
        match scan(body.as_bytes()) {
            Err(ScanError::NotJsonRpc { fault, .. }) => assert_eq!(fault, expected, "{body}"),
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn every_member_that_is_read_may_stand_once() {
    let names = |level: &'static [&'static str]| level.iter().copied();
    let levels = [
        (r#"{"jsonrpc":"2.0","id":1,@}"#, names(&oracle::TOP)),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{@}}"#,
            names(&oracle::PARAMS),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"ref":{@}}}"#,
            names(&oracle::REF),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{@}}}"#,
            names(&oracle::META),
        ),
    ];
    for (body, names) in levels {
        for name in names {
            let twice = body.replace('@', &format!(r#""{name}":{{}},"{name}":{{}}"#));
            oracle::check(twice.as_bytes());
            assert!(scan(twice.as_bytes()).is_err(), "{twice}");
        }
    }
}

#[test]
fn a_refusal_names_the_one_valid_id() {
    let id = |body: &str| scan(body.as_bytes()).unwrap_err().id().map(str::to_owned);
    assert_eq!(
        id(r#"{"params":[],"id":"a\n","method":"x"}"#).as_deref(),
        Some(r#""a\n""#)
    );
    assert_eq!(id(r#"{"id":1,"id":2,"jsonrpc":"2.0","method":"x"}"#), None);
    assert_eq!(id(r#"{"id":1,"jsonrpc":"2.0","method":"x""#), None);
}

#[test]
fn a_call_is_borrowed_from_the_body() {
    let body = br#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo"}}"#;
    let env = scan(body).unwrap();
    assert_eq!(env.kind, Kind::Request);
    assert!(matches!(
        env.method,
        Some(std::borrow::Cow::Borrowed("tools/call"))
    ));
    assert!(matches!(env.name, Some(std::borrow::Cow::Borrowed("echo"))));
    assert_eq!(env.id.unwrap().as_str(), "7");
}

#[test]
fn one_message_is_no_batch() {
    assert!(!is_batch(b" {}"));
    assert_eq!(batch(b"{}"), Err(refused(RpcFault::NotABatch)));
    assert!(matches!(batch(b"[1,]"), Err(ScanError::NotJson { .. })));
    assert!(matches!(batch(b"[1] 2"), Err(ScanError::NotJson { .. })));
}
