//! `bench idle`: what an idle keep-alive connection costs in memory, in the
//! target and in the bare server (REQUIREMENTS S6).

use std::fmt;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use tokio::time::{Instant, interval};

use crate::args::{IdleArgs, TargetArgs};
use crate::fleet::Fleet;
use crate::process::resident_kib;
use crate::ratio::Pair;
use crate::reference::Reference;
use crate::text::grouped;

/// Memory is settled when it did not change over this many samples.
const SAMPLES: usize = 5;
const SAMPLE_EVERY: Duration = Duration::from_millis(200);
/// Changes below this, in KiB, are no change.
const NOISE_KIB: u64 = 128;
/// Memory that still moves after this is taken as it is.
const SETTLE_LIMIT: Duration = Duration::from_secs(15);

/// What `bench idle` found.
#[derive(Debug, Serialize)]
pub(crate) struct IdleReport {
    connections: u32,
    /// Whether the target's connections carry standing streams.
    streams: bool,
    /// Growth of resident memory per connection in KiB.
    kib_per_connection: Pair,
    bare: Growth,
    target: Growth,
}

/// Resident memory of one server in KiB, all its processes together.
#[derive(Debug, Clone, Copy, Serialize)]
struct Growth {
    before: u64,
    after: u64,
}

/// Measures as `args` say: the bare server first, then the target.
pub(crate) async fn run(args: &IdleArgs) -> anyhow::Result<IdleReport> {
    let reference = Reference::start(&args.reference).await?;
    let bare = growth(args, &reference.url, &reference.pids, false).await?;
    reference.stop().await?;
    let target = growth(args, &args.target.url, &args.pids, args.streams).await?;
    Ok(IdleReport::new(args, bare, target))
}

async fn growth(args: &IdleArgs, url: &str, pids: &[u32], streams: bool) -> anyhow::Result<Growth> {
    warm_up(&args.target, url).await?;
    let before = settled(pids).await?;
    let mut held = hold(&args.target, url, args.connections).await?;
    if streams {
        held.listen_each()
            .await
            .with_context(|| format!("no standing stream at {url}"))?;
    }
    let after = settled(pids).await?;
    held.close()
        .await
        .with_context(|| format!("cannot end the sessions at {url}"))?;
    Ok(Growth { before, after })
}

/// What a server sets up for its first client is no cost of a connection.
async fn warm_up(args: &TargetArgs, url: &str) -> anyhow::Result<()> {
    hold(args, url, 1).await?.close().await?;
    Ok(())
}

/// Opens connections and makes one call on each.
async fn hold(args: &TargetArgs, url: &str, connections: u32) -> anyhow::Result<Fleet> {
    let hint = || {
        format!(
            "cannot hold {connections} connections to {url}; each needs a file descriptor here \
             and there (`ulimit -n`)"
        )
    };
    let target = args.target(url)?;
    let opened = Fleet::open(&target, connections as usize).await;
    let mut fleet = opened.with_context(hint)?;
    fleet.call_each().await.with_context(hint)?;
    Ok(fleet)
}

/// Resident memory once it stopped moving.
async fn settled(pids: &[u32]) -> anyhow::Result<u64> {
    let deadline = Instant::now() + SETTLE_LIMIT;
    let mut every = interval(SAMPLE_EVERY);
    let mut samples = Vec::new();
    while !is_settled(&samples) && Instant::now() < deadline {
        every.tick().await;
        samples.push(resident_kib(pids)?);
    }
    samples.last().copied().context("no memory sample")
}

fn is_settled(samples: &[u64]) -> bool {
    let Some(last) = samples.last_chunk::<SAMPLES>() else {
        return false;
    };
    last.iter()
        .all(|sample| sample.abs_diff(last[0]) <= NOISE_KIB)
}

impl IdleReport {
    fn new(args: &IdleArgs, bare: Growth, target: Growth) -> Self {
        Self::of(args.connections, args.streams, bare, target)
    }

    fn of(connections: u32, streams: bool, bare: Growth, target: Growth) -> Self {
        let each = |growth: Growth| growth.kib() / f64::from(connections);
        Self {
            connections,
            streams,
            kib_per_connection: Pair {
                bare: each(bare),
                target: each(target),
            },
            bare,
            target,
        }
    }
}

impl Growth {
    /// Below zero when memory was given back meanwhile.
    fn kib(self) -> f64 {
        self.after as f64 - self.before as f64
    }
}

impl fmt::Display for IdleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pair { bare, target } = self.kib_per_connection;
        let connections = grouped(self.connections.into());
        let streams = match self.streams {
            true => ", the target's with an open standing stream",
            false => "",
        };
        writeln!(f, "{connections} idle keep-alive connections{streams}")?;
        writeln!(f, "bare    {bare:.1} KiB a connection ({})", self.bare)?;
        write!(f, "target  {target:.1} KiB a connection ({})", self.target)
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = (grouped(self.before), grouped(self.after));
        write!(f, "{before} -> {after} KiB resident")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_settled_after_enough_equal_samples() {
        assert!(!is_settled(&[5000; SAMPLES - 1]));
        assert!(is_settled(&[5000; SAMPLES]));
        assert!(is_settled(&[1, 5000, 5100, 4900, 5000, 5000]));
        assert!(!is_settled(&[5000, 5000, 5000, 5000, 5129]));
    }

    #[test]
    fn growth_is_shared_out_over_the_connections() {
        let bare = Growth {
            before: 3000,
            after: 3000 + 200 * 22,
        };
        let target = Growth {
            before: 9000,
            after: 9000 + 200 * 31,
        };
        let text = IdleReport::of(200, false, bare, target).to_string();
        assert!(text.contains("bare    22.0 KiB a connection (3,000 -> 7,400 KiB resident)"));
        assert!(text.contains("target  31.0 KiB a connection"));
    }
}
