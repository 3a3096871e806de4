//! Header names of the MCP transports that `http` does not know.

use http::HeaderName;

/// The session of a legacy client (2025-03-26 to 2025-11-25).
pub const MCP_SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// The revision a request is written in (from 2025-06-18).
pub const MCP_PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// The body's method (from 2026-07-28).
pub const MCP_METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// The name, URI or task id the body is aimed at (from 2026-07-28).
pub const MCP_NAME: HeaderName = HeaderName::from_static("mcp-name");
/// What the headers begin with that mirror tool arguments (from 2026-07-28).
pub const MCP_PARAM_PREFIX: &str = "mcp-param-";
/// The last event a resuming client saw (2025-03-26 to 2025-11-25).
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// `no` keeps proxies from buffering an event stream.
pub const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
