//! A shard that moves while clients use it: parked, redirected, attached anew.
//! The workers do what the test says; edge, links and clients are real.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod losses;
mod messages;
mod quarantine;
mod scene;
mod streams;
mod wait;
mod worker;

/// The cluster that edge and workers belong to.
const CLUSTER: &str = "test";
