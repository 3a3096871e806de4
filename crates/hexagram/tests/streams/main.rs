//! Legacy streams that break: what was said meanwhile comes with
//! `Last-Event-ID`, from whichever edge is asked (issue 4, "Resumability").

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../cluster/mod.rs"]
mod cluster;

mod calls;
mod deletion;
mod ids;
mod polling;
mod puppet;
mod standing;
mod upstreams;
