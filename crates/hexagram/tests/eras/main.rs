//! Every pair of eras: clients of either, through two edges and two workers, at
//! upstreams of one era, the other and both (issue 4).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../cluster/mod.rs"]
mod cluster;

mod asking;
mod calls;
mod cell;
mod changes;
mod fixture;
mod handler;
mod kept_lists;
mod matrix;
mod restarts;
mod tasks;
