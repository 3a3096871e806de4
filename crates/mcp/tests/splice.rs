//! Rewriting changes the wanted value and nothing else.

#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod support;

use bytes::Bytes;
use hexagram_mcp::{Envelope, scan, splice};
use proptest::prelude::*;
use support::json::Json;
use support::messages::{id, spelt, text, valid};
use support::oracle::target_path;

fn json(value: &Json) -> String {
    match value {
        Json::String(text) => serde_json::to_string(text).unwrap(),
        Json::Number(number) => number.to_string(),
        other => panic!("no id: {other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn only_the_id_changes((tree, body) in spelt(valid()), new in id()) {
        check(&body, &tree.with(&["id"], new.clone()), |env| splice::with_id(&body, env, &json(&new)))?;
    }

    #[test]
    fn only_id_and_token_change((tree, body) in spelt(valid()), new in id(), token in id()) {
        let path = ["params", "_meta", "progressToken"];
        let wanted = tree.with(&["id"], new.clone());
        check(&body, &wanted, |env| {
            splice::with_id_and_progress_token(&body, env, &json(&new), None)
        })?;
        let wanted = with_id_at(wanted, &path, &token);
        check(&body, &wanted, |env| {
            splice::with_id_and_progress_token(&body, env, &json(&new), Some(&json(&token)))
        })?;
    }

    #[test]
    fn only_the_progress_token_changes((tree, body) in spelt(valid()), new in id()) {
        let wanted = with_id_at(tree, &["params", "progressToken"], &new);
        check(&body, &wanted, |env| splice::with_progress_token(&body, env, &json(&new)))?;
    }

    #[test]
    fn only_the_request_id_changes((tree, body) in spelt(valid()), new in id()) {
        let wanted = with_id_at(tree, &["params", "requestId"], &new);
        check(&body, &wanted, |env| splice::with_request_id(&body, env, &json(&new)))?;
    }

    #[test]
    fn only_the_name_changes((tree, body) in spelt(valid()), new in text()) {
        let wanted = match target_path(&tree) {
            Some(path) => {
                let path = [&["params"], path].concat();
                let is_text = at(&tree, &path).is_some_and(|name| name.as_str().is_some());
                if is_text { tree.with(&path, Json::String(new.clone())) } else { tree }
            }
            None => tree,
        };
        check(&body, &wanted, |env| splice::with_name(&body, env, &new))?;
    }
}

/// Rewrites, and expects exactly `wanted`, still a message.
fn check(
    body: &[u8],
    wanted: &Json,
    rewrite: impl Fn(&Envelope<'_>) -> Bytes,
) -> Result<(), TestCaseError> {
    let new = rewrite(&scan(body).unwrap());
    let read = Json::parse(&new);
    prop_assert_eq!(read.as_ref(), Some(wanted));
    prop_assert!(scan(&new).is_ok());
    Ok(())
}

/// Replaces a value that can be an id; another type is left as it is.
fn with_id_at(tree: Json, path: &[&str], new: &Json) -> Json {
    match at(&tree, path) {
        Some(Json::String(_)) => tree.with(path, new.clone()),
        Some(Json::Number(number)) if number.is_i64() => tree.with(path, new.clone()),
        _ => tree,
    }
}

fn at<'a>(tree: &'a Json, path: &[&str]) -> Option<&'a Json> {
    path.iter().try_fold(tree, |at, name| at.get(name))
}

#[test]
fn bytes_around_the_spans_stay() {
    let body = br#"{ "params" : {"_meta":{"progressToken":1}, "name":"a"} , "id" : 2,"jsonrpc":"2.0","method":"tools/call"}"#;
    let env = scan(body).unwrap();
    let new = splice::with_id_and_progress_token(body, &env, r#""7.1""#, Some(r#""7.2""#));
    assert_eq!(
        new,
        &br#"{ "params" : {"_meta":{"progressToken":"7.2"}, "name":"a"} , "id" : "7.1","jsonrpc":"2.0","method":"tools/call"}"#[..]
    );
    let new = splice::with_name(body, &env, "b\"c");
    assert!(new.windows(14).any(|w| w == br#""name":"b\"c"}"#));
}
