//! What the processes of one cluster agree on, and how they find each other
//! by a static map.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use hexagram_core::{
    Epoch, Incarnation, KeyRing, Sealer, ShardCount, ShardId, ShardMap, WorkerId, spread,
};
use hexagram_edge::{Directory, LINK_VERSION_MAX, LINK_VERSION_MIN, WorkerAddress};
use hexagram_runtime::clock::unix_millis;
use hexagram_runtime::random;

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

    /// Key ring that seals session ids (`hexagram keys ring`).
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
            None => Ok(self.sealer_of(&new_ring())),
        }
    }

    fn sealer_of(&self, ring: &KeyRing) -> Arc<Sealer> {
        Arc::new(Sealer::new(ring, &self.cluster))
    }
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

/// A ring with one fresh key.
pub(crate) fn new_ring() -> KeyRing {
    KeyRing::generate(1, random::bytes())
}

/// This process's incarnation.
pub(crate) fn incarnation() -> Incarnation {
    loop {
        if let Some(incarnation) = Incarnation::new(u64::from_be_bytes(random::bytes())) {
            return incarnation;
        }
    }
}

/// A worker of the static map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) name: WorkerId,
    pub(crate) address: String,
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, address) = text.split_once('=').ok_or("expected NAME=HOST:PORT")?;
        let port = address
            .rsplit_once(':')
            .map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(_))) {
            return Err(format!(
                "{address:?} is not HOST:PORT; write NAME=HOST:PORT"
            ));
        }
        Ok(Self {
            name: name.parse().map_err(|error| format!("{error}"))?,
            address: address.to_owned(),
        })
    }
}

/// How a process finds the others: by a static map, or by a controller.
#[derive(Debug, Clone, Args)]
pub(crate) struct MemberArgs {
    /// A worker of the cluster, NAME=HOST:PORT; give all of them, to every process alike.
    #[arg(long = "peer", value_name = "NAME=HOST:PORT")]
    pub(crate) peers: Vec<Peer>,

    /// Instead of peers: the --control-listen address of `hexagram control`.
    #[arg(long, value_name = "URL")]
    pub(crate) control: Option<String>,
}

impl MemberArgs {
    /// The controller's address, if it is a controller that tells who owns what.
    pub(crate) fn controller(&self) -> Result<Option<&str>, Mistake> {
        let error = match (&self.control, self.peers.is_empty()) {
            (Some(control), true) => return Ok(Some(control)),
            (None, false) => return Ok(None),
            (Some(_), false) => "--peer and --control do not go together: give one of them",
            (None, true) => {
                "--peer or --control is missing: name all workers with --peer NAME=HOST:PORT, \
                 or the controller with --control URL"
            }
        };
        Err(Mistake::Settings(error.to_owned()))
    }

    pub(crate) fn map(&self, shards: ShardCount) -> Result<ShardMap> {
        let names: Vec<_> = self.peers.iter().map(|peer| peer.name.clone()).collect();
        Ok(spread(1, shards, &names)?)
    }

    pub(crate) fn directory(&self, shards: ShardCount) -> Result<Directory> {
        let address = |peer: &Peer| (peer.name.clone(), WorkerAddress::Tcp(peer.address.clone()));
        Ok(Directory {
            map: self.map(shards)?,
            workers: self.peers.iter().map(address).collect::<HashMap<_, _>>(),
        })
    }

    /// The address of the peer called `name`.
    pub(crate) fn address(&self, name: &WorkerId) -> Result<&str, Mistake> {
        let peer = self.peers.iter().find(|peer| peer.name == *name);
        let address = peer.map(|peer| peer.address.as_str());
        address.ok_or_else(|| {
            Mistake::Settings(format!(
                "--name {name} is none of the --peer workers; name one"
            ))
        })
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
