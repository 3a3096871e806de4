//! The cluster under every order of events and every fault: its protocol taken apart,
//! the whole of it simulated, and what decides over both.
//!
//! ```text
//! model    -> a checker walks through the protocol (I1..I5, I8, I12)
//!          -> the machines of hexagram_core, as the processes use them
//! cluster  -> edges, workers, controller and clients on a simulated network
//! history  -> what was seen of a cluster, and whether the invariants held
//! ```

pub mod cluster;
pub mod history;
pub mod model;
