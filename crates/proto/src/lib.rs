//! What Hexagram's processes say to each other: code generated from `proto/`, its
//! conversions to core types, and the parts of the link that both ends share.
//!
//! Nothing here listens, and only `dial.rs` connects.

mod cause;
mod chunk;
mod convert;
mod credit;
mod dial;
mod frame;
mod hello;
mod journal;
mod lasting;
mod map;
mod outbox;

pub use cause::{explained, innermost};
pub use chunk::{Assembly, CHUNK_BYTES, TooLong, chunks};
pub use convert::{Malformed, id128, protocol_version, session_claims, session_message};
pub use credit::{Consumed, INITIAL_WINDOW, Window};
pub use dial::{Connector, Dial, Wire, WorkerAddress};
pub use frame::{Frame, frames};
pub use hello::{HELLO_TIMEOUT, HelloError, LINK_VERSION_MAX, LINK_VERSION_MIN, agree, hello};
pub use journal::{CONFIRM_BYTES, CONFIRM_FRAMES, Impossible, Journal};
pub use lasting::{LASTING_SINCE, Lasting, Sending};
pub use map::{known_map, map_message};
pub use outbox::{Closed, Drained, FRAME_BYTES, Outbox, Weight, outbox};

/// Target of the log events that tell each step of the protocol by which shards move,
/// at level `trace`. Their fields: `step`, `shard`, `epoch`; of an admitted request its
/// `id`, of a change in the register the `owner` or taker, as `name#incarnation`.
pub const STEPS: &str = "hexagram::steps";

/// Upstreams of one worker that are told of in a report, and listened to: one that serves
/// more says nothing of the others.
pub const MOST_SIGHTS: usize = 256;

macro_rules! generated {
    ($(#[doc = $doc:literal] $name:ident = $package:literal),+) => {$(
        #[doc = $doc]
        #[allow(
            missing_docs,
            unreachable_pub,
            clippy::all,
            clippy::needless_pass_by_value,
            clippy::too_many_lines,
            clippy::semicolon_if_nothing_returned,
            reason = "generated; the .proto file carries the documentation"
        )]
        pub mod $name {
            tonic::include_proto!($package);
        }
    )+};
}

generated! {
    /// Code generated from `proto/link.proto`.
    link = "hexagram.link.v1",
    /// Code generated from `proto/handoff.proto`.
    handoff = "hexagram.handoff.v1",
    /// Code generated from `proto/admin.proto`.
    admin = "hexagram.admin.v1"
}

/// HTTP/2 settings of a link, measured: one stream of many small messages
/// wants windows well above the 64 KiB default.
pub mod settings {
    use std::time::Duration;

    /// HTTP/2 flow-control window of the link's stream, in bytes.
    pub const STREAM_WINDOW: u32 = 1 << 20;
    /// HTTP/2 flow-control window of the link's connection, in bytes.
    pub const CONNECTION_WINDOW: u32 = 4 << 20;
    /// Pause between keep-alive pings on a link.
    pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);
    /// A ping unanswered for this long means that the peer hangs (DESIGN 8: three missed).
    pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);
    /// Largest gRPC message accepted, in bytes: a full frame plus one message of any size.
    pub const MAX_FRAME: usize = 4 << 20;
}
