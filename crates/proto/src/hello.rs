//! The rules of the first frame: who may speak with whom (DESIGN 8).

use std::time::Duration;

use hexagram_core::{Epoch, Incarnation, ShardCount, ShardId};

use crate::link::{Hello, Owned};

/// Oldest link version this build speaks.
const LINK_VERSION_MIN: u32 = 1;
/// Newest link version this build speaks.
const LINK_VERSION_MAX: u32 = 1;
/// Format of the state that a handoff carries.
const STATE_FORMAT: u32 = 1;
/// Schema of the session store.
const STORE_SCHEMA: u32 = 1;
/// How long a peer may take for its Hello.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Why two processes may not speak with each other.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HelloError {
    /// The first frame held no Hello.
    #[error("the peer's first frame holds no Hello: it is not a Hexagram edge or worker")]
    Missing,
    /// The peer belongs to another cluster.
    #[error(
        "the peer belongs to cluster {theirs:?}, this process to {ours:?}: give both the same --cluster"
    )]
    Cluster {
        /// This process's cluster id.
        ours: String,
        /// The peer's cluster id.
        theirs: String,
    },
    /// The peer counts shards differently.
    #[error(
        "the peer has {theirs} shards, this process {ours}: --shards is fixed for a cluster's life"
    )]
    Shards {
        /// This process's shard count.
        ours: u32,
        /// The peer's shard count.
        theirs: u32,
    },
    /// No link version in common.
    #[error(
        "no common link version: the peer speaks {their_min}..={their_max}, this process {our_min}..={our_max}"
    )]
    Version {
        /// Oldest version of this process.
        our_min: u32,
        /// Newest version of this process.
        our_max: u32,
        /// Oldest version of the peer.
        their_min: u32,
        /// Newest version of the peer.
        their_max: u32,
    },
    /// An incarnation of zero.
    #[error("the peer sent no incarnation")]
    Incarnation,
}

/// The Hello of this build.
pub fn hello(
    cluster: &str,
    name: &str,
    shards: ShardCount,
    incarnation: Incarnation,
    owned: &[(ShardId, Epoch)],
) -> Hello {
    let owned = owned.iter().map(|(shard, epoch)| Owned {
        shard: u32::from(shard.get()),
        epoch: epoch.get(),
    });
    Hello {
        cluster: cluster.to_owned(),
        shards: u32::from(shards.get()),
        link_version_min: LINK_VERSION_MIN,
        link_version_max: LINK_VERSION_MAX,
        state_format: STATE_FORMAT,
        store_schema: STORE_SCHEMA,
        incarnation: incarnation.get(),
        name: name.to_owned(),
        owned: owned.collect(),
        software: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// The newest link version that both sides speak.
///
/// # Errors
/// The reason why they may not speak at all; see [`HelloError`].
pub fn agree(ours: &Hello, theirs: &Hello) -> Result<u32, HelloError> {
    if ours.cluster != theirs.cluster {
        return Err(HelloError::Cluster {
            ours: ours.cluster.clone(),
            theirs: theirs.cluster.clone(),
        });
    }
    if ours.shards != theirs.shards {
        return Err(HelloError::Shards {
            ours: ours.shards,
            theirs: theirs.shards,
        });
    }
    if theirs.incarnation == 0 {
        return Err(HelloError::Incarnation);
    }
    common_version(ours, theirs)
}

fn common_version(ours: &Hello, theirs: &Hello) -> Result<u32, HelloError> {
    let newest = ours.link_version_max.min(theirs.link_version_max);
    if newest < ours.link_version_min.max(theirs.link_version_min) {
        return Err(HelloError::Version {
            our_min: ours.link_version_min,
            our_max: ours.link_version_max,
            their_min: theirs.link_version_min,
            their_max: theirs.link_version_max,
        });
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello {
            cluster: "c".into(),
            shards: 64,
            link_version_min: 2,
            link_version_max: 3,
            incarnation: 9,
            ..Hello::default()
        }
    }

    #[test]
    fn neighbours_in_version_speak_the_older_one() {
        let older = Hello {
            link_version_min: 1,
            link_version_max: 2,
            ..hello()
        };
        assert_eq!(agree(&hello(), &older), Ok(2));
        assert_eq!(agree(&older, &hello()), Ok(2));
    }

    #[test]
    fn every_mismatch_is_refused_by_name() {
        let other = |change: fn(&mut Hello)| {
            let mut theirs = hello();
            change(&mut theirs);
            agree(&hello(), &theirs).expect_err("refused")
        };
        assert!(matches!(
            other(|h| h.cluster = "d".into()),
            HelloError::Cluster { .. }
        ));
        assert!(matches!(
            other(|h| h.shards = 32),
            HelloError::Shards { theirs: 32, .. }
        ));
        assert!(matches!(
            other(|h| h.incarnation = 0),
            HelloError::Incarnation
        ));
        assert!(matches!(
            other(|h| (h.link_version_min, h.link_version_max) = (4, 5)),
            HelloError::Version { their_min: 4, .. }
        ));
    }
}
