//! Shards change their owners under load, planned and not (issue 5,
//! "Processes"). Each scenario prints its figures.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../cluster/mod.rs"]
mod cluster;

mod balanced;
mod counter;
mod crashes;
mod figures;
mod held;
mod load;
mod orders;
mod planned;
mod resent;
mod stored;
