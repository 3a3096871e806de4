//! Which server is called and what every call to it looks like.
//!
//! All requests go to one endpoint and are one `Message`, but for its id.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use memchr::memmem::Finder;
use serde_json::json;

use crate::endpoint::Endpoint;
use crate::era::Era;
use crate::message::Message;

/// Text every call sends and every answer must carry; with it a legacy call
/// with an id of six digits is 262 bytes, the payload of the reference figures.
const ECHO_TEXT: &str = "The quick brown fox jumps over the lazy dog and counts the hexagrams: \
     sixty-four of them, six lines each, every line broken or whole, and none of them twice...";

/// A server, and the calls made to it.
#[derive(Debug)]
pub struct Target {
    endpoint: Endpoint,
    era: Era,
    headers: HeaderMap,
    call: Message,
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
        let endpoint = Endpoint::new(url, extra)?;
        let mut arguments = serde_json::Map::new();
        arguments.insert(tool.argument.to_owned(), ECHO_TEXT.into());
        let params = json!({ "name": tool.name, "arguments": arguments });
        let call = Message::new(era, "tools/call", params)?;
        Ok(Self {
            headers: endpoint.headers(call.headers()),
            endpoint,
            era,
            call,
            text: Finder::new(ECHO_TEXT),
        })
    }

    /// The URL as given.
    #[must_use]
    pub fn url(&self) -> &str {
        self.endpoint.url()
    }

    /// The era spoken.
    #[must_use]
    pub fn era(&self) -> Era {
        self.era
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
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
        self.call.with_id(id)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;
    use crate::message::MODERN_VERSION;

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
}
