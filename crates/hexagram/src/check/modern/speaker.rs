//! Requests of 2026-07-28: metadata in the body, mirrored in the headers.

use hexagram_core::ProtocolVersion;
use hexagram_mcp::header::names::MCP_SESSION_ID;
use reqwest::header::HeaderName;
use serde_json::{Value, json};

use crate::check::client::{Ask, Client};
use crate::check::lists::Speaker;
use crate::check::reply::{Outcome, Reply};
use crate::check::session::{client_info, request};

/// The revision that is asked for.
pub(super) const VERSION: &str = ProtocolVersion::LATEST.as_str();

/// Asks, and keeps in mind which answers lack what each must have.
#[derive(Clone)]
pub(super) struct Modern<'a> {
    pub(super) client: &'a Client,
    /// The methods whose results came without caching hints.
    pub(super) without_hints: Vec<&'static str>,
    /// The methods whose results came without a type.
    pub(super) without_type: Vec<&'static str>,
    /// The methods whose answers named a session.
    pub(super) with_session: Vec<&'static str>,
}

impl<'a> Modern<'a> {
    pub(super) fn new(client: &'a Client) -> Self {
        Self {
            client,
            without_hints: Vec::new(),
            without_type: Vec::new(),
            with_session: Vec::new(),
        }
    }

    /// `server/discover` in this version.
    pub(super) async fn discover(&self, version: &'static str) -> Outcome {
        let id = self.client.new_id();
        let ask = compose(id, version, "server/discover", json!({}));
        self.client.answer(ask, id).await
    }

    /// `server/discover` with one header added or changed.
    pub(super) async fn discover_with(&self, name: HeaderName, value: &'static str) -> Outcome {
        let id = self.client.new_id();
        let ask = compose(id, VERSION, "server/discover", json!({}));
        self.client.answer(ask.header(name, value), id).await
    }

    /// Any request.
    pub(super) async fn request(&self, method: &'static str, params: Value) -> Outcome {
        let id = self.client.new_id();
        let ask = compose(id, VERSION, method, params);
        self.client.answer(ask, id).await
    }

    /// Notes what this answer to `method` lacks.
    pub(super) fn take_note(&mut self, method: &'static str, reply: &Reply) {
        if reply.headers.contains_key(MCP_SESSION_ID) {
            remember(&mut self.with_session, method);
        }
        let Some(result) = reply.result() else {
            return;
        };
        if !result["resultType"].is_string() {
            remember(&mut self.without_type, method);
        }
        if !has_hints(result) {
            remember(&mut self.without_hints, method);
        }
    }
}

impl Speaker for Modern<'_> {
    async fn ask(&mut self, method: &'static str, params: Value) -> Outcome {
        let outcome = self.request(method, params).await;
        if let Ok(reply) = &outcome {
            self.take_note(method, reply);
        }
        outcome
    }
}

/// A complete request.
pub(super) fn compose(
    id: u64,
    version: &'static str,
    method: &'static str,
    mut params: Value,
) -> Ask {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": client_info(),
    });
    Ask::post(&request(id, method, &params)).mirrored(version, method)
}

fn has_hints(result: &Value) -> bool {
    let scope = result["cacheScope"].as_str();
    result["ttlMs"].is_u64() && scope.is_some_and(|scope| matches!(scope, "public" | "private"))
}

/// A list of many pages lacks the same on each.
fn remember(methods: &mut Vec<&'static str>, method: &'static str) {
    if !methods.contains(&method) {
        methods.push(method);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_a_time_and_a_scope() {
        assert!(has_hints(&json!({"ttlMs": 0, "cacheScope": "private"})));
        for lacking in [
            json!({}),
            json!({"ttlMs": 5}),
            json!({"ttlMs": -1, "cacheScope": "public"}),
            json!({"ttlMs": 5, "cacheScope": "all"}),
        ] {
            assert!(!has_hints(&lacking), "{lacking}");
        }
    }
}
