//! Mutual TLS on the links: who may be at the other end.
//!
//! ```text
//! folder or Secret -> Identity -> LinkTls -> connect (edge, worker, controller)
//!                                         -> door    (worker)
//! no folder ------------------------------> plain_door (worker)
//! Authority -> Identity
//! ```
//!
//! A certificate names a role, never a process or an address: `worker.hexagram.internal`.
//! Who dials wants a worker, who accepts wants any role; both trust the CAs in their
//! `ca.crt` and no other. TLS lies under the wire: gRPC knows nothing of it
//! (docs/adr/0021-link-tls.md).

mod args;
mod authority;
mod configs;
mod connect;
mod door;
mod error;
mod facts;
mod flaw;
mod identity;
mod link_tls;
mod plain;
mod plain_door;
mod refusal;
mod role;
mod seats;
mod verify;

pub use args::LinkTlsArgs;
pub use authority::Authority;
pub use door::{ServerStream, incoming};
pub use error::TlsError;
pub use facts::Facts;
pub use identity::{CA_FILE, CERTIFICATE_FILE, Identity, KEY_FILE};
pub use link_tls::LinkTls;
pub use plain_door::{Heard, PlainStream, plain_incoming};
pub use role::Role;
