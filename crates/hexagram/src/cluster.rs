//! What the processes of one cluster agree on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use hexagram_core::{Epoch, Incarnation, KeyRing, Sealer, ShardCount, ShardId, ShardMap, WorkerId};
use hexagram_edge::{LINK_VERSION_MAX, LINK_VERSION_MIN};
use hexagram_runtime::clock::unix_millis;
use hexagram_runtime::random;
use hexagram_runtime::watched::WatchedFile;

use crate::mistake::Mistake;

/// What all processes of a cluster must give alike.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClusterArgs {
    /// The cluster's name; processes of different clusters refuse each other.
    #[arg(long, default_value = "hexagram", value_name = "NAME")]
    pub(crate) cluster: String,

    /// Logical shards, a power of two up to 1024; fixed for the cluster's life.
    #[arg(long, default_value = "64", value_name = "N")]
    pub(crate) shards: ShardCount,

    /// Key ring that seals session ids (`hexagram keys ring`); read again when it changes.
    /// `local` makes one of its own without it.
    #[arg(long, value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,

    /// Hours after which a session ends.
    #[arg(long, default_value_t = 24, value_name = "HOURS", value_parser = clap::value_parser!(u64).range(1..=24 * 30))]
    pub(crate) session_lifetime: u64,

    /// Newest version of the link between edges and workers to speak. Both sides take
    /// the newest that both know; the older one here keeps the way back to the release
    /// before open.
    #[arg(long, default_value_t = LINK_VERSION_MAX, value_name = "N", value_parser = clap::value_parser!(u32).range(i64::from(LINK_VERSION_MIN)..=i64::from(LINK_VERSION_MAX)))]
    pub(crate) link_version: u32,
}

impl ClusterArgs {
    pub(crate) fn session_lifetime(&self) -> Duration {
        Duration::from_secs(self.session_lifetime * 3600)
    }

    /// The sealer of the ring in `--keys`.
    pub(crate) fn sealer(&self) -> Result<Arc<Sealer>> {
        let Some(file) = &self.keys else {
            let missing = "--keys FILE is missing: edges and workers seal session ids with the \
                           same ring; make one with `hexagram keys ring > ring.txt`";
            return Err(Mistake::Settings(missing.to_owned()).into());
        };
        Ok(self.sealer_of(&read_ring(file)?))
    }

    /// As [`Self::sealer`], with a ring of this process's own where none is given.
    pub(crate) fn sealer_or_own(&self) -> Result<Arc<Sealer>> {
        match self.keys {
            Some(_) => self.sealer(),
            None => Ok(self.sealer_of(&new_ring(1))),
        }
    }

    /// From now on seals with what is in `--keys` whenever that changes.
    pub(crate) fn follow_keys(&self, sealer: &Arc<Sealer>) {
        let Some(file) = self.keys.clone() else {
            return;
        };
        let (mut watched, sealer) = (WatchedFile::new(&file), Arc::clone(sealer));
        tokio::spawn(async move {
            loop {
                // At once, too: it may have changed since it was read first.
                take_ring(&file, &sealer);
                watched.changed().await;
            }
        });
    }

    fn sealer_of(&self, ring: &KeyRing) -> Arc<Sealer> {
        Arc::new(Sealer::new(ring, &self.cluster))
    }
}

fn take_ring(file: &Path, sealer: &Sealer) {
    match read_ring(file) {
        Ok(ring) if ring.fingerprints() == sealer.fingerprints() => {}
        Ok(ring) => exchange(sealer, &ring),
        Err(error) => tracing::error!(%error, "the key ring before stays in use"),
    }
}

fn exchange(sealer: &Sealer, ring: &KeyRing) {
    let (before, now) = (sealer.fingerprints(), ring.fingerprints());
    sealer.take(ring);
    let keys = shown(sealer);
    tracing::info!(?keys, "another key ring is in use; the first key mints");
    if !before.iter().any(|key| now.contains(key)) {
        tracing::warn!(
            "the ring has no key of the one before: all its sessions end. To rotate keys, add \
             one, then mark it `mint`, then drop the old one"
        );
    }
}

/// The keys of a ring as people see them, the minting one first.
pub(crate) fn shown(sealer: &Sealer) -> Vec<String> {
    let keys = sealer.fingerprints().into_iter();
    keys.map(|key| format!("{key:016x}")).collect()
}

fn read_ring(file: &Path) -> Result<KeyRing, Mistake> {
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| {
        Mistake::File(format!(
            "cannot read the key ring {name}: {error}; check --keys"
        ))
    })?;
    KeyRing::parse(&text)
        .map_err(|error| Mistake::File(format!("the key ring {name} is unusable: {error}")))
}

/// A ring with one fresh key of this id.
pub(crate) fn new_ring(id: u8) -> KeyRing {
    KeyRing::generate(id, random::bytes())
}

/// This process's incarnation.
pub(crate) fn incarnation() -> Incarnation {
    loop {
        if let Some(incarnation) = Incarnation::new(u64::from_be_bytes(random::bytes())) {
            return incarnation;
        }
    }
}

/// The shards of `worker` in a fresh epoch.
///
/// Nobody hands out epochs where there is no register. Each start takes one
/// above all earlier ones, so that sessions whose deletion may have been
/// forgotten with the old process are refused (ADR 0005). That is why a clock
/// is good enough here: it decides nothing about ownership.
pub(crate) fn owned(map: &ShardMap, worker: &WorkerId) -> Vec<(ShardId, Epoch)> {
    let epoch = Epoch::new(unix_millis()).unwrap_or(Epoch::FIRST);
    map.owned_by(worker)
        .into_iter()
        .map(|shard| (shard, epoch))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_that_cannot_be_used_leaves_the_one_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ring.txt");
        let (old, new) = (new_ring(1), new_ring(1));
        let sealer = Sealer::new(&old, "c");
        for text in [None, Some("1 x".to_owned()), Some(old.to_text())] {
            let written = text.map(|text| std::fs::write(&file, text));
            written.transpose().expect("written");
            take_ring(&file, &sealer);
            assert_eq!(sealer.fingerprints(), old.fingerprints());
        }
        std::fs::write(&file, new.to_text()).expect("written");
        take_ring(&file, &sealer);
        assert_eq!(sealer.fingerprints(), new.fingerprints());
    }
}
