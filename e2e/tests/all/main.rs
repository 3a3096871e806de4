//! The long form of the cluster's tests, after the short one: what else people and
//! accidents do to a cluster. Each is whole in itself and leaves the release as it was
//! installed; they run one at a time, in the order of their names, and only by
//! `cargo xtask e2e --all`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod balance;
mod changes;
mod control;
mod edges;
mod losses;
mod mistakes;
mod policies;
mod scaling;
mod store;
mod upstreams;

use anyhow::{Result, ensure};
use hexagram_e2e::{Scene, Shards, Verdict};

const NO_CONTAINERS: &str = "the nodes are no containers here";

/// The scenario is about two nodes; false where everything is on one.
async fn is_apart(scene: &Scene) -> Result<bool> {
    scene.installed().await?;
    scene.spread().await
}

/// Adds to a verdict that no epoch went back.
fn grown(verdict: Verdict, after: &Shards, before: &Shards) -> Verdict {
    let sunk = after.sunk_since(before);
    verdict.requires(sunk.is_empty(), format!("epochs of {sunk:?} went back"))
}

/// The reason why something was refused that has to be, in one line.
fn refusal<T>(done: Result<T>, reason: &str) -> Result<String> {
    let Err(error) = done else {
        anyhow::bail!("it was not refused, for {reason}");
    };
    let said = format!("{error:#}");
    ensure!(said.contains(reason), "not for {reason}: {said}");
    Ok(format!("refused: {reason}"))
}
