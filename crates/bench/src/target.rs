//! Which server is called and what every call to it looks like.
//!
//! Bodies and headers are built once: on the hot path only the id is new.

use std::io::Write;

use anyhow::{Context, Error};
use bytes::Bytes;
use clap::ValueEnum;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use memchr::memmem::Finder;
use serde::Serialize;
use serde_json::json;

/// Text every call sends and every answer must carry; with it a legacy call
/// with an id of six digits is 262 bytes, the payload of the reference figures.
const ECHO_TEXT: &str = "The quick brown fox jumps over the lazy dog and counts the hexagrams: \
     sixty-four of them, six lines each, every line broken or whole, and none of them twice...";

/// The modern protocol version this generator speaks.
pub(crate) const MODERN_VERSION: &str = "2026-07-28";
/// The legacy protocol version it asks for at `initialize`.
pub(crate) const LEGACY_VERSION: &str = "2025-11-25";
/// Header that names the protocol version.
pub(crate) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

const CALL_START: &[u8] = br#"{"jsonrpc":"2.0","id":"#;
const ID_DIGITS: usize = 20;

/// How the client speaks (DESIGN section 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Era {
    /// `initialize`, a session, then calls that name it (protocol 2025-11-25).
    Legacy,
    /// Each request carries its version and capabilities (protocol 2026-07-28).
    Modern,
}

/// A server, and the calls made to it.
#[derive(Debug)]
pub struct Target {
    url: String,
    host: String,
    port: u16,
    path: PathAndQuery,
    era: Era,
    headers: HeaderMap,
    call_end: Vec<u8>,
    text: Finder<'static>,
}

/// The tool a [`Target`] is called with.
#[derive(Debug, Clone, Copy)]
pub struct Tool<'a> {
    /// Its name. It must answer with the text it was given.
    pub name: &'a str,
    /// Name of its text argument.
    pub argument: &'a str,
}

impl Target {
    /// Prepares calls of `tool` at `url`, with `extra` headers on each request.
    ///
    /// # Errors
    /// When the URL is not `http://host[:port][/path]`, or the tool's name
    /// cannot be a header value.
    pub fn new(
        url: &str,
        era: Era,
        tool: Tool<'_>,
        extra: &[(HeaderName, HeaderValue)],
    ) -> anyhow::Result<Self> {
        let uri = check_url(url).map_err(Error::msg)?;
        let authority = uri.authority().context("the URL names no host")?;
        let mut headers = era_headers(era, tool.name)?;
        headers.insert(HOST, authority.as_str().parse()?);
        headers.extend(extra.iter().cloned());
        Ok(Self {
            url: url.to_owned(),
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(80),
            path: uri.into_parts().path_and_query.context("bad URL path")?,
            era,
            headers,
            call_end: call_end(era, tool),
            text: Finder::new(ECHO_TEXT),
        })
    }

    /// The URL as given.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The era spoken.
    #[must_use]
    pub fn era(&self) -> Era {
        self.era
    }

    pub(crate) fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    pub(crate) fn uri(&self) -> Uri {
        Uri::from(self.path.clone())
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Finds the text an answer must carry.
    pub(crate) fn text(&self) -> &Finder<'static> {
        &self.text
    }

    /// The body of the call with this id.
    pub(crate) fn call(&self, id: u64) -> Bytes {
        let mut body = Vec::with_capacity(CALL_START.len() + ID_DIGITS + self.call_end.len());
        body.extend_from_slice(CALL_START);
        // Writing to a Vec cannot fail.
        let _ = write!(body, "{id}");
        body.extend_from_slice(&self.call_end);
        body.into()
    }
}

/// The URL of a server that can be measured.
///
/// # Errors
/// What to write instead.
pub(crate) fn check_url(url: &str) -> Result<Uri, String> {
    let uri = url.parse::<Uri>().ok();
    uri.filter(|uri| uri.scheme_str() == Some("http") && uri.authority().is_some())
        .ok_or_else(|| "bench speaks plain HTTP: write http://host:port/path".to_owned())
}

fn era_headers(era: Era, tool: &str) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(
        ACCEPT,
        HeaderValue::from_static("application/json, text/event-stream"),
    );
    if era == Era::Modern {
        headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(MODERN_VERSION));
        headers.insert("mcp-method", HeaderValue::from_static("tools/call"));
        headers.insert("mcp-name", tool.parse().context("bad tool name")?);
    }
    Ok(headers)
}

/// Everything after the id.
fn call_end(era: Era, tool: Tool<'_>) -> Vec<u8> {
    let mut arguments = serde_json::Map::new();
    arguments.insert(tool.argument.to_owned(), ECHO_TEXT.into());
    let mut params = json!({ "name": tool.name, "arguments": arguments });
    if era == Era::Modern {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": MODERN_VERSION,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": client_info(),
        });
    }
    format!(r#","method":"tools/call","params":{params}}}"#).into_bytes()
}

/// Who calls, for `initialize` and `_meta`.
pub(crate) fn client_info() -> serde_json::Value {
    json!({ "name": "hexagram-bench", "version": env!("CARGO_PKG_VERSION") })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;

    const ECHO: Tool<'_> = Tool {
        name: "echo",
        argument: "message",
    };

    fn target(era: Era) -> Target {
        Target::new("http://[::1]:81/mcp?x=1", era, ECHO, &[]).unwrap()
    }

    #[test]
    fn a_legacy_call_has_the_reference_size_and_only_its_id_differs() {
        let legacy = target(Era::Legacy);
        assert_eq!(legacy.call(123_456).len(), 262);
        let text = |id| String::from_utf8(legacy.call(id).to_vec()).unwrap();
        assert_eq!(text(7).replace(":7,", ":8,"), text(8));
    }

    #[test]
    fn a_modern_call_carries_its_meta_and_headers() {
        let modern = target(Era::Modern);
        let call: serde_json::Value = serde_json::from_slice(&modern.call(1)).unwrap();
        let meta = &call["params"]["_meta"];
        assert_eq!(
            meta["io.modelcontextprotocol/protocolVersion"],
            MODERN_VERSION
        );
        assert!(meta["io.modelcontextprotocol/clientCapabilities"].is_object());
        assert_eq!(modern.headers()["mcp-protocol-version"], MODERN_VERSION);
        assert_eq!(modern.headers()["mcp-method"], "tools/call");
        assert_eq!(modern.headers()["mcp-name"], "echo");
    }

    #[test]
    fn urls_are_taken_apart() {
        let target = target(Era::Legacy);
        assert_eq!(target.address(), ("::1", 81));
        assert_eq!(target.uri().to_string(), "/mcp?x=1");
        assert_eq!(target.headers()["host"], "[::1]:81");
        for bad in ["https://x/mcp", "x:80/mcp", "/mcp", ""] {
            assert!(Target::new(bad, Era::Legacy, ECHO, &[]).is_err(), "{bad}");
        }
    }
}
