//! How the processes of one cluster find each other: by a static map, by a controller, or
//! by the `ShardMap` of a Kubernetes namespace.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use hexagram_control::{HttpSource, Maps, Tellers};
use hexagram_core::{ShardCount, ShardMap, WorkerId, spread};
use hexagram_edge::{Dial, Directory};
use hexagram_operator::{MapSource, Place};
use hexagram_worker::ReadMap;
use tokio::sync::watch;

use crate::cluster::ClusterArgs;
use crate::mistake::Mistake;

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
        let address = place(address).map_err(|error| format!("{error}; write NAME=HOST:PORT"))?;
        Ok(Self {
            name: name.parse().map_err(|error| format!("{error}"))?,
            address,
        })
    }
}

/// Where somebody is reached, as HOST:PORT.
pub(crate) fn place(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    match port {
        _ if text.contains("://") => Err(format!("{text:?} is a URL: write HOST:PORT alone")),
        Some(Ok(_)) => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is not HOST:PORT")),
    }
}

/// How a process finds the others.
#[derive(Debug, Clone, Args)]
pub(crate) struct MemberArgs {
    /// A worker of the cluster, NAME=HOST:PORT; give all of them, to every process alike.
    #[arg(long = "peer", value_name = "NAME=HOST:PORT")]
    pub(crate) peers: Vec<Peer>,

    /// Instead of peers: the --control-listen address of `hexagram control`.
    #[arg(long, value_name = "URL")]
    pub(crate) control: Option<String>,

    /// Instead of peers, in Kubernetes: the ShardMap object that `hexagram operator` writes.
    #[arg(long, value_name = "NAME")]
    pub(crate) shard_map: Option<String>,

    #[command(flatten)]
    pub(crate) namespace: NamespaceArgs,
}

/// Where in Kubernetes a process is.
#[derive(Debug, Clone, Args)]
pub(crate) struct NamespaceArgs {
    /// The Kubernetes namespace of the ShardMap; without it that of the pod's service
    /// account, or of the kubeconfig.
    #[arg(long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

impl NamespaceArgs {
    pub(crate) async fn place(&self) -> Result<Place> {
        Ok(Place::infer(self.namespace.as_deref()).await?)
    }
}

/// Which way the others are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way<'a> {
    /// A map that never changes.
    Peers,
    /// A controller at this URL.
    Control(&'a str),
    /// The object of this name.
    ShardMap(&'a str),
}

impl MemberArgs {
    /// Which way the others are found.
    pub(crate) fn way(&self) -> Result<Way<'_>, Mistake> {
        let error = match (&self.control, &self.shard_map, self.peers.is_empty()) {
            (Some(control), None, true) => return Ok(Way::Control(control)),
            (None, Some(name), true) => return Ok(Way::ShardMap(name)),
            (None, None, false) => return Ok(Way::Peers),
            (None, None, true) => {
                "--peer, --control or --shard-map is missing: name all workers with --peer \
                 NAME=HOST:PORT, or the controller with --control URL, or in Kubernetes the \
                 ShardMap with --shard-map NAME"
            }
            _ => "--peer, --control and --shard-map do not go together: give one of them",
        };
        Err(Mistake::Settings(error.to_owned()))
    }

    /// Whether somebody changes the map.
    pub(crate) fn has_register(&self) -> Result<bool, Mistake> {
        Ok(self.way()? != Way::Peers)
    }

    /// Refuses addresses to `ask`, saying `alone`, unless a process that finds the others this
    /// way `asks` somebody.
    pub(crate) fn check_ask(
        &self,
        ask: &[String],
        asks: impl Fn(Way<'_>) -> bool,
        alone: &str,
    ) -> Result<(), Mistake> {
        match ask.is_empty() || asks(self.way()?) {
            true => Ok(()),
            false => Err(Mistake::Settings(alone.to_owned())),
        }
    }

    pub(crate) fn map(&self, shards: ShardCount) -> Result<ShardMap> {
        let names: Vec<_> = self.peers.iter().map(|peer| peer.name.clone()).collect();
        Ok(spread(1, shards, &names)?)
    }

    pub(crate) fn directory(&self, shards: ShardCount, dial: &Dial) -> Result<Directory> {
        let address = |peer: &Peer| (peer.name.clone(), dial(&peer.address));
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

    /// Where the map comes from, if somebody changes it. Nobody is asked yet.
    pub(crate) async fn source(&self, cluster: &ClusterArgs) -> Result<Option<Source>> {
        let (name, shards) = (&cluster.cluster, cluster.shards);
        Ok(match self.way()? {
            Way::Peers => None,
            Way::Control(url) => Some(Source::Control(HttpSource::new(url, name, shards)?)),
            Way::ShardMap(object) => {
                let place = self.namespace.place().await?;
                Some(Source::ShardMap(Box::new(MapSource::new(
                    &place, object, name, shards,
                ))))
            }
        })
    }
}

/// The workers at the addresses to `ask` what they know of the map.
pub(crate) fn tellers(ask: &[String], cluster: &ClusterArgs, dial: Dial) -> Tellers {
    Tellers {
        places: ask.to_vec(),
        dial,
        cluster: cluster.cluster.clone(),
        shards: cluster.shards,
    }
}

/// Where a map that changes comes from.
#[derive(Clone)]
pub(crate) enum Source {
    /// A controller of a process cluster.
    Control(HttpSource),
    /// An object in Kubernetes.
    ShardMap(Box<MapSource>),
}

impl Source {
    /// Follows the map.
    pub(crate) fn follow(&self) -> Maps {
        match self {
            Self::Control(source) => source.follow(),
            Self::ShardMap(source) => source.follow(),
        }
    }

    /// Whether the register answered when it was asked last.
    pub(crate) fn reached(&self) -> watch::Receiver<bool> {
        match self {
            Self::Control(source) => source.reached(),
            Self::ShardMap(source) => source.reached(),
        }
    }

    /// Reads the map of now.
    pub(crate) fn read(&self) -> ReadMap {
        let source = self.clone();
        Arc::new(move || {
            let source = source.clone();
            Box::pin(async move {
                match source {
                    Self::Control(source) => source.read().await,
                    Self::ShardMap(source) => source.read().await,
                }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Given {
        #[command(flatten)]
        members: MemberArgs,
    }

    fn given(args: &[&str]) -> MemberArgs {
        Given::parse_from(["x"].iter().chain(args)).members
    }

    #[test]
    fn one_way_and_one_only() {
        let ways = [
            (vec!["--peer", "w=h:1"], Way::Peers),
            (vec!["--control", "http://h:1"], Way::Control("http://h:1")),
            (vec!["--shard-map", "m"], Way::ShardMap("m")),
        ];
        for (args, way) in &ways {
            assert_eq!(given(args).way().unwrap(), *way);
        }
        assert!(
            given(&[])
                .way()
                .unwrap_err()
                .to_string()
                .contains("--shard-map is missing")
        );
        for pair in ways.windows(2) {
            let both = [&pair[0].0[..], &pair[1].0[..]].concat();
            let error = given(&both).way().unwrap_err().to_string();
            assert!(error.contains("do not go together"), "{error}");
        }
    }
}
