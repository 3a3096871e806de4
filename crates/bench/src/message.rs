//! A request that is sent again and again. Body and headers are built once: on
//! the hot path only the id is new.

use std::io::Write;

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::era::Era;

/// The modern protocol version this generator speaks.
pub(crate) const MODERN_VERSION: &str = "2026-07-28";
/// The legacy protocol version it asks for at `initialize`.
pub(crate) const LEGACY_VERSION: &str = "2025-11-25";
/// Header that names the protocol version.
pub(crate) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

const START: &[u8] = br#"{"jsonrpc":"2.0","id":"#;
const ID_DIGITS: usize = 20;

/// A request but for its id.
#[derive(Debug)]
pub(crate) struct Message {
    headers: HeaderMap,
    /// Everything after the id.
    end: Vec<u8>,
}

impl Message {
    /// A request of `method`; a modern one gets its `_meta` and headers.
    ///
    /// # Errors
    /// When the name in `params` cannot be a header value.
    pub(crate) fn new(era: Era, method: &'static str, mut params: Value) -> anyhow::Result<Self> {
        let headers = match era {
            Era::Legacy => HeaderMap::new(),
            Era::Modern => modern_headers(method, params["name"].as_str())?,
        };
        if era == Era::Modern {
            params["_meta"] = meta();
        }
        let end = format!(r#","method":"{method}","params":{params}}}"#).into_bytes();
        Ok(Self { headers, end })
    }

    /// The headers that this message has beside those of its session.
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body with this id.
    pub(crate) fn with_id(&self, id: u64) -> Bytes {
        let mut body = Vec::with_capacity(START.len() + ID_DIGITS + self.end.len());
        body.extend_from_slice(START);
        // Writing to a Vec cannot fail.
        let _ = write!(body, "{id}");
        body.extend_from_slice(&self.end);
        body.into()
    }
}

fn modern_headers(method: &'static str, name: Option<&str>) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(MODERN_VERSION));
    headers.insert("mcp-method", HeaderValue::from_static(method));
    if let Some(name) = name {
        headers.insert("mcp-name", name.parse().context("bad tool name")?);
    }
    Ok(headers)
}

fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": MODERN_VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": client_info(),
    })
}

/// Who calls, for `initialize` and `_meta`.
pub(crate) fn client_info() -> Value {
    json!({ "name": "hexagram-bench", "version": env!("CARGO_PKG_VERSION") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_legacy_request_is_bare() {
        let ping = Message::new(Era::Legacy, "ping", json!({})).expect("a message");
        let body = br#"{"jsonrpc":"2.0","id":7,"method":"ping","params":{}}"#;
        assert_eq!(ping.with_id(7), body.as_slice());
        assert!(ping.headers().is_empty());
    }

    #[test]
    fn a_modern_request_names_what_it_is_for() {
        let list = Message::new(Era::Modern, "tools/list", json!({})).expect("a message");
        assert_eq!(list.headers()["mcp-method"], "tools/list");
        assert!(!list.headers().contains_key("mcp-name"));
        let bad = Message::new(Era::Modern, "tools/call", json!({ "name": "a\nb" }));
        assert!(bad.is_err());
    }
}
