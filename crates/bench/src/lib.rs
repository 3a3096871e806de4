//! Load generator and reference servers: how fast Hexagram is, and beside what.
//!
//! A figure without a reference says little on a shared machine, so `compare`
//! and `idle` run the same load against the target and against a bare hyper
//! server with the same payload (REQUIREMENTS section 1), and print ratios.
//!
//! `args` -> [`run`] -> one command (`http`, `bare`, `compare`, `idle`, `sessions`). A
//! command opens a [`fleet::Fleet`] of connections to a [`target::Target`],
//! drives a [`fleet::Plan`] over it and turns the [`tally::Tally`] into a report.
//! `sessions` has clients of its own, with sessions and streams, over the same
//! connections.

mod args;
pub mod bare;
mod bare_answer;
mod command;
mod compare;
mod compare_report;
pub mod connection;
mod endpoint;
pub mod era;
pub mod failure;
pub mod fleet;
mod handshake;
mod idle;
mod measure;
mod message;
mod process;
mod progress;
mod ratio;
mod reference;
mod reply;
mod report;
mod run_args;
mod schedule;
mod sessions;
mod signals;
mod sse;
pub mod tally;
pub mod target;
mod text;
mod wire;

pub use args::BenchArgs;
pub use command::run;
