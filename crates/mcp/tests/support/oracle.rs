//! The rules of an envelope, told over a parsed tree: what `scan` must answer.

use std::borrow::Cow;

use hexagram_mcp::{Envelope, Kind, RawId, ScanError, scan};

use super::json::Json;

pub const TOP: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
pub const PARAMS: [&str; 9] = [
    "name",
    "uri",
    "taskId",
    "ref",
    "requestId",
    "progressToken",
    "cursor",
    "requestState",
    "_meta",
];
pub const REF: [&str; 3] = ["type", "name", "uri"];
pub const META: [&str; 5] = [
    "progressToken",
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientCapabilities",
    "io.modelcontextprotocol/clientInfo",
    "io.modelcontextprotocol/logLevel",
];

/// Whether a name anywhere in it is one that serde_json keeps for itself.
fn holds_private_key(tree: &Json) -> bool {
    match tree {
        Json::Array(items) => items.iter().any(holds_private_key),
        Json::Object(members) => members
            .iter()
            .any(|(name, value)| name.starts_with("$serde_json::") || holds_private_key(value)),
        _ => false,
    }
}

/// Panics unless `scan` judges `body` as the rules do and reads the same from it.
pub fn check(body: &[u8]) {
    let tree = Json::parse(body);
    let value = serde_json::from_slice::<serde_json::Value>(body);
    // A Value takes one key of serde_json's own for something else.
    if !tree.as_ref().is_some_and(holds_private_key) {
        assert_eq!(
            tree.is_some(),
            value.is_ok(),
            "the oracle must read what a Value reads"
        );
    }
    match (tree, scan(body)) {
        (None, Err(ScanError::NotJson { offset, .. })) => assert!(offset <= body.len()),
        (None, other) => panic!("not JSON ({:?}), but scanned: {other:?}", value.err()),
        (Some(tree), Err(error)) => {
            let ScanError::NotJsonRpc { id, .. } = &error else {
                panic!("JSON, but scanned: {error}");
            };
            assert!(!obeys(&tree), "obeys the rules, but scanned: {error}");
            let id = id.as_deref().map(|id| Json::parse(id.as_bytes()).unwrap());
            assert_eq!(id.as_ref(), answerable_id(&tree));
        }
        (Some(tree), Ok(env)) => {
            assert!(obeys(&tree), "breaks a rule, but scanned: {env:?}");
            same_fields(&tree, &env);
        }
    }
}

/// Whether the message keeps every rule of JSON-RPC as MCP narrows it.
pub fn obeys(top: &Json) -> bool {
    let has = |name| top.count(name) > 0;
    let object_or_absent = |name| top.get(name).is_none_or(Json::is_object);
    let id_fits = match (has("method"), has("result"), has("error"), top.get("id")) {
        (true, false, false, id) => id.is_none_or(is_id),
        (false, true, false, id) => id.is_some_and(is_id),
        (false, false, true, id) => id.is_none_or(|id| is_id(id) || *id == Json::Null),
        _ => false,
    };
    id_fits
        && no_repeats(top)
        && top.get("jsonrpc").and_then(Json::as_str) == Some("2.0")
        && top
            .get("method")
            .is_none_or(|method| method.as_str().is_some())
        && object_or_absent("params")
        && object_or_absent("error")
}

fn no_repeats(top: &Json) -> bool {
    let once = |object: &Json, names: &[&str]| names.iter().all(|name| object.count(name) <= 1);
    let params = top.get("params").unwrap_or(&Json::Null);
    once(top, &TOP)
        && once(params, &PARAMS)
        && once(params.get("ref").unwrap_or(&Json::Null), &REF)
        && once(params.get("_meta").unwrap_or(&Json::Null), &META)
}

fn is_id(value: &Json) -> bool {
    match value {
        Json::String(_) => true,
        Json::Number(number) => number.is_i64(),
        _ => false,
    }
}

fn answerable_id(top: &Json) -> Option<&Json> {
    top.get("id").filter(|id| is_id(id) && top.count("id") == 1)
}

fn same_fields(top: &Json, env: &Envelope<'_>) {
    let params = top.get("params").unwrap_or(&Json::Null);
    let meta = params.get("_meta").unwrap_or(&Json::Null);
    let object = |name| meta.get(name).filter(|value| value.is_object());
    assert_eq!(env.kind, kind(top));
    same_text(env.method.as_ref(), top.get("method"));
    same_raw(env.id.map(|id| id.as_bytes()), top.get("id"));
    same_text(env.name.as_ref(), target(top, params));
    same_raw(env.params, top.get("params"));
    same_raw(env.result, top.get("result"));
    same_raw(env.error, top.get("error"));
    same_id(env.request_id, params.get("requestId"));
    same_id(env.progress_token, params.get("progressToken"));
    same_text(env.cursor.as_ref(), params.get("cursor"));
    same_text(env.request_state.as_ref(), params.get("requestState"));
    assert_eq!(env.untyped, untyped(top, params));
    same_id(env.meta.progress_token, meta.get("progressToken"));
    same_text(env.meta.protocol_version.as_ref(), meta.get(META[1]));
    same_raw(env.meta.client_capabilities, object(META[2]));
    same_raw(env.meta.client_info, object(META[3]));
    same_text(env.meta.log_level.as_ref(), meta.get(META[4]));
}

/// The handle that is there and no string.
fn untyped(top: &Json, params: &Json) -> Option<&'static str> {
    let method = top.get("method").and_then(Json::as_str).unwrap_or_default();
    let handles = [
        ("requestState", true),
        ("taskId", method.starts_with("tasks/")),
    ];
    let wrong = |name| {
        params
            .get(name)
            .is_some_and(|value| value.as_str().is_none())
    };
    let wrong = handles
        .into_iter()
        .find(|(name, counts)| *counts && wrong(name));
    wrong.map(|(name, _)| name)
}

fn kind(top: &Json) -> Kind {
    match (top.get("method"), top.get("result"), top.get("id")) {
        (Some(_), _, Some(_)) => Kind::Request,
        (Some(_), _, None) => Kind::Notification,
        (None, Some(_), _) => Kind::Response,
        (None, None, _) => Kind::ErrorResponse,
    }
}

/// The path, below `params`, of what the method is aimed at.
pub fn target_path(top: &Json) -> Option<&'static [&'static str]> {
    let reference = top.get("params").and_then(|params| params.get("ref"));
    let kind = reference
        .and_then(|reference| reference.get("type"))
        .and_then(Json::as_str);
    match (top.get("method")?.as_str()?, kind) {
        ("tools/call" | "prompts/get", _) => Some(&["name"]),
        ("resources/read" | "resources/subscribe" | "resources/unsubscribe", _) => Some(&["uri"]),
        ("completion/complete", Some("ref/prompt")) => Some(&["ref", "name"]),
        ("completion/complete", Some("ref/resource")) => Some(&["ref", "uri"]),
        (method, _) if method.starts_with("tasks/") => Some(&["taskId"]),
        _ => None,
    }
}

fn target<'a>(top: &Json, params: &'a Json) -> Option<&'a Json> {
    target_path(top)?
        .iter()
        .try_fold(params, |at, name| at.get(name))
}

fn same_text(read: Option<&Cow<'_, str>>, tree: Option<&Json>) {
    assert_eq!(read.map(|text| &**text), tree.and_then(Json::as_str));
}

fn same_id(read: Option<RawId<'_>>, tree: Option<&Json>) {
    same_raw(read.map(|id| id.as_bytes()), tree.filter(|id| is_id(id)));
}

fn same_raw(read: Option<&[u8]>, tree: Option<&Json>) {
    assert_eq!(read.map(|text| Json::parse(text).unwrap()).as_ref(), tree);
}
