//! The rules of the first frame: who may speak with whom (DESIGN 8).

use std::time::Duration;

use hexagram_core::{Epoch, Incarnation, ShardCount, ShardId};

use crate::link::{Hello, Owned};

/// Oldest link version this build speaks.
const LINK_VERSION_MIN: u32 = 2;
/// Newest link version this build speaks.
const LINK_VERSION_MAX: u32 = 3;
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
    /// The peer cannot open what this process mints.
    #[error(
        "the peer's key ring lacks the key that this process mints session ids with: {}",
        RING_ADVICE
    )]
    OurKey,
    /// This process cannot open what the peer mints.
    #[error(
        "this process's key ring lacks the key that the peer mints session ids with: {}",
        RING_ADVICE
    )]
    TheirKey,
    /// Another static map.
    #[error(
        "the peer's map of shards and owners is not this process's: give both the same --peer list"
    )]
    Map,
    /// An incarnation of zero.
    #[error("the peer sent no incarnation")]
    Incarnation,
}

/// What to do about rings that differ.
const RING_ADVICE: &str = "give both the same --keys file; to rotate, add a new key to the ring of \
     every process before one of them mints with it";

/// The Hello of this build, with nothing to compare beyond cluster and shards.
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
        key_fingerprints: Vec::new(),
        map_fingerprint: None,
        link: 0,
        resume: None,
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
    let version = common_version(ours, theirs)?;
    same_keys(&ours.key_fingerprints, &theirs.key_fingerprints)?;
    same_map(ours.map_fingerprint, theirs.map_fingerprint)?;
    Ok(version)
}

/// Each side must be able to open what the other mints. During a rotation the
/// rings differ by keys that nobody mints with, and that is fine.
fn same_keys(ours: &[u64], theirs: &[u64]) -> Result<(), HelloError> {
    let (Some(our_minting), Some(their_minting)) = (ours.first(), theirs.first()) else {
        return Ok(());
    };
    match (theirs.contains(our_minting), ours.contains(their_minting)) {
        (true, true) => Ok(()),
        (false, _) => Err(HelloError::OurKey),
        (true, false) => Err(HelloError::TheirKey),
    }
}

fn same_map(ours: Option<u64>, theirs: Option<u64>) -> Result<(), HelloError> {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) if ours != theirs => Err(HelloError::Map),
        _ => Ok(()),
    }
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

    fn with_keys(keys: &[u64]) -> Hello {
        Hello {
            key_fingerprints: keys.to_vec(),
            ..hello()
        }
    }

    #[test]
    fn every_step_of_a_rotation_is_let_through() {
        const OLD: u64 = 1;
        const NEW: u64 = 2;
        let steps: [&[u64]; 4] = [&[OLD], &[OLD, NEW], &[NEW, OLD], &[NEW]];
        for neighbours in steps.windows(2) {
            let [one, other] = [neighbours[0], neighbours[1]].map(with_keys);
            assert_eq!(agree(&one, &other), Ok(3), "{neighbours:?}");
            assert_eq!(agree(&other, &one), Ok(3), "{neighbours:?}");
        }
    }

    #[test]
    fn rings_that_cannot_read_each_other_are_refused_with_the_side_to_blame() {
        let refused = |ours: &[u64], theirs: &[u64]| agree(&with_keys(ours), &with_keys(theirs));
        assert_eq!(refused(&[1], &[2]), Err(HelloError::OurKey));
        assert_eq!(refused(&[2, 1], &[1]), Err(HelloError::OurKey));
        assert_eq!(refused(&[1], &[2, 1]), Err(HelloError::TheirKey));
        let advice = HelloError::TheirKey.to_string();
        assert!(
            advice.contains("--keys") && advice.contains("rotate"),
            "{advice}"
        );
    }

    #[test]
    fn what_an_older_peer_does_not_say_is_not_compared() {
        let newer = Hello {
            map_fingerprint: Some(7),
            ..with_keys(&[1])
        };
        assert_eq!(agree(&newer, &hello()), Ok(3));
        assert_eq!(agree(&hello(), &newer), Ok(3));
    }

    #[test]
    fn another_map_is_refused() {
        let with_map = |map| Hello {
            map_fingerprint: Some(map),
            ..hello()
        };
        assert_eq!(agree(&with_map(7), &with_map(7)), Ok(3));
        let refused = agree(&with_map(7), &with_map(8)).expect_err("refused");
        assert_eq!(refused, HelloError::Map);
        assert!(refused.to_string().contains("--peer"), "{refused}");
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
