//! The MCP wire: everything that turns outside bytes into routing facts and our
//! facts back into bytes.
//!
//! The edge scans each message once ([`scan`]), decides its era ([`detect`]),
//! rewrites ids in place ([`splice`]) and refuses with the one table of errors
//! ([`Problem`]). Nothing here does I/O or keeps state except [`SseParser`].

pub mod client;
pub mod envelope;
pub mod era;
pub mod error;
pub mod handle;
pub mod header;
mod line;
mod scanner;
pub mod splice;
pub mod sse;
mod subscription;

pub use client::{InitializeParams, capabilities_json};
pub use envelope::{
    Envelope, Kind, MAX_BATCH, Meta, RawId, RpcFault, ScanError, batch, is_batch, scan,
};
pub use era::{Opening, detect, detect_without_headers, negotiate};
pub use error::Problem;
pub use header::HeaderError;
pub use line::unbreak;
pub use scanner::{JsonRule, MAX_DEPTH};
pub use sse::{KEEP_ALIVE, SseError, SseEvent, SseParser, write_event};
pub use subscription::{SUBSCRIPTION_ID, completion};
