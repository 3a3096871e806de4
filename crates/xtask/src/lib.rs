//! Developer commands: everything that checks, tests or measures the tree, in
//! one place and with one name each. A library, so that `tests/` can ask the
//! same questions as the commands.

pub mod cli;
pub mod tidy;

mod cache;
mod chart;
mod cluster;
mod conformance;
mod e2e;
mod fuzz;
mod process;
mod progress;
mod sim;
mod suite;
mod tally;
mod tools;
mod workspace;
