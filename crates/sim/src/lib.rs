//! The protocol by which shards move, taken apart: a model that a checker walks
//! through in every order of events (DESIGN 9c).
//!
//! ```text
//! model::Cluster -> actions, messages, properties (I1..I5, I8, I12)
//!                -> the machines of hexagram_core, as the processes use them
//! ```

pub mod model;
