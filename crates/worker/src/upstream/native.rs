//! Handlers that answer at once on the raw message, with no types in between:
//! for servers whose work is cheaper than parsing into a type tree.

use hexagram_core::ProtocolVersion;
use hexagram_mcp::error::Problem;

use super::ServerInfo;

/// A request as a [`NativeHandler`] sees it.
#[derive(Debug)]
pub struct NativeRequest<'a> {
    /// JSON-RPC method.
    pub method: &'a str,
    /// Raw JSON of `params`, if there are any.
    pub params: Option<&'a [u8]>,
    /// The client's protocol version.
    pub version: ProtocolVersion,
}

/// A server compiled in that answers without waiting for anything.
///
/// It runs on the link's reader: it must not block. A panic costs its
/// exchange only.
pub trait NativeHandler: Send + Sync + 'static {
    /// What the server says of itself.
    fn info(&self) -> ServerInfo;

    /// The raw JSON of the result.
    ///
    /// # Errors
    /// The error for the client; [`Problem::MethodNotFound`] for what it does not know.
    fn handle(&self, request: &NativeRequest<'_>) -> Result<Vec<u8>, Problem>;
}
