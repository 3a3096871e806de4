//! What no honest client sends, and what the specification wants of it: probes
//! that both eras share.

use super::notes::Rule;

/// An origin that nobody's configuration allows: `.invalid` is never a host.
pub(super) const STRANGER: &str = "http://hexagram-check.invalid";
/// A version that is none.
pub(super) const NO_VERSION: &str = "1900-01-01";

/// A message together with its rule.
pub(super) struct Malformed {
    pub(super) text: &'static str,
    pub(super) rule: Rule,
}

/// JSON that stops in the middle.
pub(super) const MALFORMED: Malformed = Malformed {
    text: r#"{"jsonrpc": "2.0", "id": 1, "method": "#,
    rule: Rule {
        feature: "malformed_json_refused",
        sent: "JSON that stops in the middle",
        wanted: "an HTTP error, best 400 with JSON-RPC error -32700",
    },
};

/// From 2025-11-25 on the status is pinned.
pub(super) const ORIGIN_2025_11_25: Rule = Rule {
    feature: "origin_checked",
    sent: "a request with Origin: http://hexagram-check.invalid",
    wanted: "HTTP 403: else any web page can use the endpoint (DNS rebinding)",
};

/// Before, any refusal would do.
pub(super) const ORIGIN_BEFORE: Rule = Rule {
    feature: "origin_checked",
    sent: "a request with Origin: http://hexagram-check.invalid",
    wanted: "a refusal: else any web page can use the endpoint (DNS rebinding)",
};
