//! Hexagram: a sharded MCP cluster behind one endpoint. One binary, several roles.

mod check;
mod cli;
mod cluster;
mod demo;
#[cfg(test)]
mod documents;
mod follow;
mod grid;
mod members;
mod mistake;
mod output;
mod roles;
mod store;

use std::process::ExitCode;

// The allocator is on every message's path; this one was measured to be faster.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::parse() {
        Ok(parsed) => roles::run(parsed),
        Err(error) => error.report(),
    }
}
