//! Both stores asked the same things, and a real server that is killed, wiped, rolled
//! back, full, or not ours.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod distance;
mod faults;
mod memory_full;
mod properties;
mod refusals;
mod replicas;
mod security;
mod server;
mod speech;
