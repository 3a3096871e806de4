//! Shards change their owners under load, planned and not (issue 5, "Processes"). What
//! clients, upstream and processes tell becomes a history, and the checker of the
//! simulation decides over it. Each scenario prints a row of figures:
//!
//! `HEXAGRAM_SCENARIOS=long cargo test -p hexagram --test moves -- --nocapture --test-threads=1`
//!
//! runs the long form, which docs/movement.md reports.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../cluster/mod.rs"]
mod cluster;

mod balanced;
mod counter;
mod crashes;
mod held;
mod load;
mod official;
mod orders;
mod planned;
mod report;
mod resent;
mod scene;
mod size;
mod stalled;
mod steps;
mod stored;
mod streams;
mod talk;
