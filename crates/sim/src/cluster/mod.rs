//! A whole cluster in one deterministic simulation (DESIGN 9c).
//!
//! ```text
//! clients -> edges -> workers -> an upstream compiled in
//!              \         |
//!               control -+- register, store   each on a host of its own
//! ```
//!
//! Edges, workers and the controller are the product's own code. Time, network and
//! chance are simulated: the same seed gives the same run, as long as the process has
//! seeded what asks the system for chance (`main.rs`).

mod client;
mod draw;
mod fate;
mod hosts;
mod mcp;
mod net;
mod operator;
mod recorder;
mod register;
mod run;
mod scenario;
mod speaker;
mod stage;
mod store;
mod upstream;

pub use run::{LIMITS, Trouble, run};
pub use scenario::{Crash, Fault, Kind, Moment, Order, Scenario, StoreTrouble, Victim};

/// The cluster's id.
const CLUSTER: &str = "sim";
