//! The JSON-RPC envelope of one MCP message: what routing and rewriting need,
//! borrowed from the body.

mod batch;
mod fault;
mod member;
mod read;

use std::borrow::Cow;
use std::ops::Range;

use crate::scanner::Raw;

pub use batch::{MAX_BATCH, batch, is_batch};
pub use fault::{RpcFault, ScanError};
pub use read::scan;

/// What kind of message an envelope holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A method and an id.
    Request,
    /// A method without an id.
    Notification,
    /// A result.
    Response,
    /// An error.
    ErrorResponse,
}

impl Kind {
    /// Whether it answers a request.
    #[must_use]
    pub fn is_response(self) -> bool {
        matches!(self, Self::Response | Self::ErrorResponse)
    }
}

/// One scanned message. Members of another JSON type than the protocol gives
/// them below `params` are left out, as if absent: judging them is the
/// handler's business (-32602), not the envelope's.
#[derive(Debug, Clone)]
pub struct Envelope<'a> {
    /// Request, notification, response or error response.
    pub kind: Kind,
    /// The method; none in responses.
    pub method: Option<Cow<'a, str>>,
    /// The id; always there in requests and responses, never in notifications.
    /// An error response may lack it or hold null.
    pub id: Option<RawId<'a>>,
    /// What the method is aimed at: `params.name` of tools/call and prompts/get,
    /// `params.uri` of resources/read, subscribe and unsubscribe, `params.taskId`
    /// of tasks/*, and the name or URI (by its type) in `params.ref` of
    /// completion/complete.
    pub name: Option<Cow<'a, str>>,
    /// The text of `params`, always an object.
    pub params: Option<&'a [u8]>,
    /// The text of `result`.
    pub result: Option<&'a [u8]>,
    /// The text of `error`, always an object.
    pub error: Option<&'a [u8]>,
    /// What `params._meta` says.
    pub meta: Meta<'a>,
    /// `params.requestId`, as in notifications/cancelled.
    pub request_id: Option<RawId<'a>>,
    /// `params.progressToken`, as in notifications/progress.
    pub progress_token: Option<RawId<'a>>,
    /// `params.cursor`, as in list requests.
    pub cursor: Option<Cow<'a, str>>,
    /// `params.requestState` of a modern request that goes on with an earlier one.
    pub request_state: Option<Cow<'a, str>>,
    /// `params.requestState`, or `params.taskId` of tasks/*, where it is there
    /// and no string: its name. Nobody but its server may read what it holds.
    pub untyped: Option<&'static str>,
    /// Where the body holds `request_state`, quotes included.
    pub(crate) state_span: Option<Range<usize>>,
    /// Where the body holds the string that `name` was read from, quotes included.
    pub(crate) name_span: Option<Range<usize>>,
}

/// The members of `params._meta` that MCP reserves for the envelope.
#[derive(Debug, Clone, Default)]
pub struct Meta<'a> {
    /// `io.modelcontextprotocol/protocolVersion`: its presence makes a request modern.
    pub protocol_version: Option<Cow<'a, str>>,
    /// The text of `io.modelcontextprotocol/clientCapabilities`, an object.
    pub client_capabilities: Option<&'a [u8]>,
    /// The text of `io.modelcontextprotocol/clientInfo`, an object.
    pub client_info: Option<&'a [u8]>,
    /// `io.modelcontextprotocol/logLevel`.
    pub log_level: Option<Cow<'a, str>>,
    /// `progressToken` of a request that wants progress notifications.
    pub progress_token: Option<RawId<'a>>,
}

/// A JSON-RPC id or progress token as it stands in the body: a string in its
/// quotes, an integer of 64 bits, or (in error responses) null. Equal when the
/// texts are equal, so an id is best compared with one of the same sender.
#[derive(Debug, Clone, Copy)]
pub struct RawId<'a> {
    raw: Raw<'a>,
}

impl<'a> RawId<'a> {
    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.raw.text
    }

    /// The JSON text as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.raw.text.as_bytes()
    }

    /// Whether it is null: the peer could not read the id it answers.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.raw.text == "null"
    }

    /// The bytes of the body it covers.
    pub(crate) fn span(&self) -> Range<usize> {
        self.raw.span()
    }

    /// None when the value is no string and no integer that fits an `i64`.
    fn new(raw: Raw<'a>) -> Option<Self> {
        let fits = raw.text.starts_with('"') || is_integer(raw.text);
        fits.then_some(Self { raw })
    }
}

impl PartialEq for RawId<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.raw.text == other.raw.text
    }
}

impl Eq for RawId<'_> {}

/// Whether a JSON number is an integer that fits an `i64`: `-0` is a float to
/// every parser, `1.0` and `1e2` to most.
fn is_integer(json: &str) -> bool {
    /// So many characters always fit.
    const SHORT: usize = 18;
    json.bytes()
        .all(|byte| byte == b'-' || byte.is_ascii_digit())
        && (json.len() <= SHORT || json.parse::<i64>().is_ok())
        && json != "-0"
}
