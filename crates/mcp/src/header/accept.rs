//! Media types: what a client accepts and what it sends.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

const JSON: (&str, &str) = ("application", "json");
const SSE: (&str, &str) = ("text", "event-stream");

/// Whether the client takes both forms of a reply to a POST. MCP obliges clients
/// to say so: without an Accept header they do not. Weights and parameters are ignored.
#[must_use]
pub fn accepts_json_and_sse(headers: &HeaderMap) -> bool {
    // What most clients send, word for word; it is asked of every message.
    const USUAL: &[u8] = b"application/json, text/event-stream";
    if headers.get(ACCEPT).is_some_and(|value| value == USUAL) {
        return true;
    }
    accepts(headers, JSON) && accepts(headers, SSE)
}

/// Whether the client takes an event stream, as for a GET.
#[must_use]
pub fn accepts_sse(headers: &HeaderMap) -> bool {
    accepts(headers, SSE)
}

/// Whether the body is declared as `application/json`, with any parameters.
#[must_use]
pub fn is_json_content(headers: &HeaderMap) -> bool {
    let declared = headers
        .get(CONTENT_TYPE)
        .and_then(text)
        .and_then(media_range);
    declared.is_some_and(|(main, sub)| {
        main.eq_ignore_ascii_case(JSON.0) && sub.eq_ignore_ascii_case(JSON.1)
    })
}

fn accepts(headers: &HeaderMap, (main, sub): (&str, &str)) -> bool {
    let fits = |range: &str, part: &str| range == "*" || range.eq_ignore_ascii_case(part);
    let lines = headers.get_all(ACCEPT).iter().filter_map(text);
    lines
        .flat_map(|line| line.split(','))
        .filter_map(media_range)
        .any(|range| fits(range.0, main) && fits(range.1, sub))
}

/// Type and subtype, without parameters.
fn media_range(item: &str) -> Option<(&str, &str)> {
    let essence = item.split(';').next()?.trim();
    essence.split_once('/')
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}
