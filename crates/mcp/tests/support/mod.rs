//! What the tests share (the fuzz targets take `json` and `oracle`): a JSON tree that hides nothing, an
//! independent judge of envelopes, and generators of messages.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test binary uses a part of it; a panic is how it reports"
)]

pub mod json;
pub mod messages;
pub mod oracle;
