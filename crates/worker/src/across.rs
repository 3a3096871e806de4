//! What differs between the eras, put right on the way: a legacy client's
//! request for a modern upstream, and results either way.

use bytes::Bytes;
use hexagram_core::ProtocolVersion;
use hexagram_mcp::envelope::scan;
use hexagram_mcp::error::Problem;
use serde_json::json;
use serde_json::value::RawValue;

use crate::facts::ClientFacts;
use crate::raw::{RawObject, raw};

/// What a modern request says of its client: version, capabilities, name, log level.
const META: [&str; 4] = [
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientCapabilities",
    "io.modelcontextprotocol/clientInfo",
    "io.modelcontextprotocol/logLevel",
];
/// JSON-RPC codes of a resource that is not there: until 2025-11-25, and since.
const LEGACY_NOT_FOUND: i64 = -32002;
const INVALID_PARAMS: i64 = -32602;
/// A modern server's "the client must declare a capability".
const MISSING_CAPABILITY: i64 = -32021;

/// A legacy client's request with what a modern one says of itself. `level` is
/// the log level that the session has set.
pub(crate) fn to_modern(body: &[u8], facts: &ClientFacts, level: Option<&str>) -> Option<Bytes> {
    let mut request = RawObject::parse(body)?;
    let mut params = request.object("params");
    let mut meta = params.object("_meta");
    for (name, value) in members(facts, level) {
        meta.put(name, value);
    }
    params.put("_meta", raw(&meta)?);
    request.put("params", raw(&params)?);
    serde_json::to_vec(&request).ok().map(Bytes::from)
}

/// A modern client's request without what it says of its client: a legacy
/// session was told that by its handshake, and refuses another version.
pub(crate) fn request_to_legacy(body: Bytes) -> Bytes {
    let Some(mut request) = RawObject::parse(&body) else {
        return body;
    };
    request.edit("params", |params| {
        params.edit("_meta", |meta| {
            for name in META {
                meta.remove(name);
            }
        });
    });
    serde_json::to_vec(&request).map_or(body, Bytes::from)
}

/// The `_meta` of a modern request for a legacy client.
pub(crate) fn meta(facts: &ClientFacts) -> String {
    let mut meta = RawObject::default();
    for (name, value) in members(facts, None) {
        meta.put(name, value);
    }
    serde_json::to_string(&meta).unwrap_or_else(|_| "{}".to_owned())
}

fn members(
    facts: &ClientFacts,
    level: Option<&str>,
) -> impl Iterator<Item = (&'static str, Box<RawValue>)> {
    // All that a capability lets a modern upstream ask for comes as a result that
    // no legacy client understands, so none is offered.
    let capabilities = json!({});
    let info = json!({"name": facts.name, "version": facts.software_version});
    let version = json!(ProtocolVersion::LATEST.as_str());
    let level = level.map(|level| json!(level));
    let all = [Some(version), Some(capabilities), Some(info), level];
    META.into_iter()
        .zip(all)
        .filter_map(|(name, value)| Some((name, raw(&value?)?)))
}

/// A modern upstream's response as a legacy client reads it.
///
/// # Errors
/// When it asks for something that the client cannot be asked across eras.
pub(crate) fn to_legacy(message: Bytes, method: &str) -> Result<Bytes, Problem> {
    let Some(mut response) = RawObject::parse(&message) else {
        return Ok(message);
    };
    let kind = response.object("result").text("resultType");
    if let Some(what @ ("input_required" | "task")) = kind.as_deref() {
        return Err(Problem::NotAcrossEras {
            what: format!("the result {what:?} of {method}"),
        });
    }
    if code(&response.object("error")) == Some(MISSING_CAPABILITY) {
        return Err(Problem::NotAcrossEras {
            what: "a request from the server to the client".to_owned(),
        });
    }
    response.edit("result", |result| {
        for member in ["resultType", "ttlMs", "cacheScope"] {
            result.remove(member);
        }
    });
    response.edit("error", |error| not_found(error, method));
    Ok(serde_json::to_vec(&response).map_or(message, Bytes::from))
}

fn code(error: &RawObject) -> Option<i64> {
    error.get("code")?.get().parse().ok()
}

/// A resource that is not there has a code of its own in the legacy era.
fn not_found(error: &mut RawObject, method: &str) {
    let names_it = error.object("data").text("uri").is_some();
    if method == "resources/read"
        && names_it
        && code(error) == Some(INVALID_PARAMS)
        && let Some(code) = raw(&LEGACY_NOT_FOUND)
    {
        error.put("code", code);
    }
}

/// Gives a legacy response what the modern era requires: its members, its codes.
pub(crate) fn modernized(message: &Bytes, method: &str) -> Bytes {
    let Some(result) = scan(message).ok().and_then(|envelope| envelope.result) else {
        return modern_error(message, method);
    };
    let Some(start) = offset(message, result) else {
        return message.clone();
    };
    let inner = &result[1..];
    if result[0] != b'{' || has_member(result, "resultType") {
        return message.clone();
    }
    let empty = inner.trim_ascii_start().starts_with(b"}");
    let mut members = String::from("\"resultType\":\"complete\"");
    if is_cacheable(method) {
        // Nothing is known of how long a legacy server's lists hold.
        members.push_str(",\"ttlMs\":0,\"cacheScope\":\"private\"");
    }
    if !empty {
        members.push(',');
    }
    let at = start + 1;
    [&message[..at], members.as_bytes(), &message[at..]]
        .concat()
        .into()
}

fn modern_error(message: &Bytes, method: &str) -> Bytes {
    let Some(mut response) = RawObject::parse(message) else {
        return message.clone();
    };
    response.edit("error", |error| {
        if method == "resources/read"
            && code(error) == Some(LEGACY_NOT_FOUND)
            && let Some(code) = raw(&INVALID_PARAMS)
        {
            error.put("code", code);
        }
    });
    serde_json::to_vec(&response).map_or_else(|_| message.clone(), Bytes::from)
}

fn offset(message: &[u8], part: &[u8]) -> Option<usize> {
    let start = (part.as_ptr() as usize).checked_sub(message.as_ptr() as usize)?;
    (start + part.len() <= message.len() && !part.is_empty()).then_some(start)
}

fn has_member(object: &[u8], name: &str) -> bool {
    RawObject::parse(object).is_some_and(|object| object.get(name).is_some())
}

/// Methods whose modern results must say how long they hold (SEP-2549).
fn is_cacheable(method: &str) -> bool {
    matches!(
        method,
        "server/discover"
            | "tools/list"
            | "prompts/list"
            | "resources/list"
            | "resources/templates/list"
            | "resources/read"
    )
}

#[cfg(test)]
mod tests {
    use hexagram_core::Capabilities;
    use serde_json::Value;

    use super::*;

    fn bytes(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    fn facts() -> ClientFacts {
        ClientFacts {
            version: ProtocolVersion::LATEST_LEGACY,
            capabilities: Capabilities::all(),
            name: "c".to_owned(),
            software_version: "1".to_owned(),
        }
    }

    #[test]
    fn a_legacy_request_says_who_its_client_is() {
        let body = br#"{"jsonrpc":"2.0","id":"1.7","method":"tools/call","params":{"name":"x","_meta":{"progressToken":"1.7"}}}"#;
        let body = to_modern(body, &facts(), Some("info")).expect("a request");
        let request: Value = serde_json::from_slice(&body).expect("JSON");
        let meta = &request["params"]["_meta"];
        assert_eq!(
            meta["io.modelcontextprotocol/protocolVersion"],
            "2026-07-28"
        );
        assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "c");
        assert_eq!(meta["io.modelcontextprotocol/logLevel"], "info");
        assert_eq!(
            meta["io.modelcontextprotocol/clientCapabilities"],
            json!({})
        );
        assert_eq!(meta["progressToken"], "1.7");
        assert_eq!(request["params"]["name"], "x");
        let bare = to_modern(
            br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#,
            &facts(),
            None,
        );
        assert!(bare.is_some_and(|bare| {
            scan(&bare).is_ok_and(|bare| bare.meta.protocol_version.is_some())
        }));
    }

    #[test]
    fn a_legacy_session_is_not_told_of_its_client_again() {
        let body = bytes(
            r#"{"jsonrpc":"2.0","id":"1.7","method":"tools/call","params":{"name":"x","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","progressToken":"1.7","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/logLevel":"info","k":1.0}}}"#,
        );
        assert_eq!(
            request_to_legacy(body),
            bytes(
                r#"{"jsonrpc":"2.0","id":"1.7","method":"tools/call","params":{"name":"x","_meta":{"progressToken":"1.7","k":1.0}}}"#
            )
        );
        let bare = bytes(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
        assert_eq!(request_to_legacy(bare.clone()), bare);
    }

    #[test]
    fn modern_results_become_legacy_ones() {
        let list = bytes(
            r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","ttlMs":5,"cacheScope":"public","tools":[1.0]}}"#,
        );
        let list = to_legacy(list, "tools/list");
        assert_eq!(
            list,
            Ok(bytes(
                r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[1.0]}}"#
            ))
        );
        let asks = bytes(r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required"}}"#);
        assert!(matches!(
            to_legacy(asks, "tools/call"),
            Err(Problem::NotAcrossEras { .. })
        ));
        let missing = bytes(
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"m","data":{"uri":"x"}}}"#,
        );
        let missing = to_legacy(missing, "resources/read").expect("an error");
        assert!(memchr::memmem::find(&missing, b"-32002").is_some());
    }

    #[test]
    fn legacy_results_become_complete() {
        let list = bytes(r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}"#);
        assert_eq!(
            modernized(&list, "tools/list"),
            bytes(
                r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","ttlMs":0,"cacheScope":"private","tools":[]}}"#
            )
        );
        let empty = bytes(r#"{"jsonrpc":"2.0","id":1,"result":{ }}"#);
        assert_eq!(
            modernized(&empty, "tools/call"),
            bytes(r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete" }}"#)
        );
        let modern = bytes(r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete"}}"#);
        assert_eq!(modernized(&modern, "tools/call"), modern);
        let error = bytes(r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}"#);
        assert_eq!(modernized(&error, "tools/call"), error);
        let missing = bytes(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32002,"message":"m"}}"#);
        assert_eq!(
            modernized(&missing, "resources/read"),
            bytes(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"m"}}"#)
        );
        assert_eq!(modernized(&missing, "tools/call"), missing);
    }
}
