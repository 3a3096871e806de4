//! What clients, upstreams and failing processes can do to Hexagram: every one
//! gets an explicit answer, and nobody else notices (issue 3, "Bad input").

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../cluster/mod.rs"]
mod cluster;

mod auth;
mod files;
mod floods;
mod handles;
mod headers;
mod heads;
mod json;
mod messages;
mod modern;
mod sessions;
mod sizes;
mod slow_reader;
mod upstreams;
mod workers;
