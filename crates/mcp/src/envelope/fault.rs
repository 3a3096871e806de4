//! Why a body was refused by the scan.

use crate::scanner::{JsonFault, JsonRule};

/// The body is not one JSON-RPC message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// Not JSON (-32700).
    #[error("{what} at byte {offset}; send one JSON text in UTF-8")]
    NotJson {
        /// The first byte that does not fit, counted from 0.
        offset: usize,
        /// What is wrong there.
        what: JsonRule,
    },
    /// JSON, but no JSON-RPC 2.0 message (-32600).
    #[error("{fault}")]
    NotJsonRpc {
        /// The JSON text of the message's id, when it has exactly one and a valid one.
        id: Option<String>,
        /// The rule it breaks.
        fault: RpcFault,
    },
}

impl ScanError {
    /// The id to name in the error response.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::NotJson { .. } => None,
            Self::NotJsonRpc { id, .. } => id.as_deref(),
        }
    }
}

impl From<JsonFault> for ScanError {
    fn from(fault: JsonFault) -> Self {
        Self::NotJson {
            offset: fault.offset,
            what: fault.what,
        }
    }
}

/// A rule of JSON-RPC 2.0, as MCP narrows it, that a message breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RpcFault {
    /// Some other JSON value.
    #[error("a message must be a JSON object")]
    NotAnObject,
    /// `jsonrpc` missing or not "2.0".
    #[error("the member jsonrpc must be \"2.0\"")]
    Version,
    /// A member that decides what the message means stands twice.
    #[error("a member is there twice; send each member once")]
    Duplicate,
    /// Neither a string nor a 64-bit integer.
    #[error("an id must be a string or an integer between -2^63 and 2^63-1")]
    Id,
    /// Null, where only an error response may say so.
    #[error("an id must not be null; leave it out of notifications")]
    NullId,
    /// A result for nobody.
    #[error("a response must hold the id of its request")]
    MissingId,
    /// `method` is not a string.
    #[error("the method must be a string")]
    Method,
    /// `params` is not an object.
    #[error("params must be an object: MCP has only named parameters")]
    Params,
    /// `error` is not an object.
    #[error("the error of a response must be an object")]
    Error,
    /// Neither request nor response.
    #[error("a message must hold a method, a result or an error")]
    Empty,
    /// Two of method, result and error.
    #[error("a message must hold only one of method, result and error")]
    Mixed,
    /// Some other JSON value where a batch was asked for.
    #[error("a batch must be a JSON array")]
    NotABatch,
    /// A batch without messages.
    #[error("a batch must hold at least one message")]
    EmptyBatch,
    /// A batch of more than [`MAX_BATCH`](super::MAX_BATCH) messages.
    #[error("a batch must hold at most 64 messages; send several batches")]
    LongBatch,
}
