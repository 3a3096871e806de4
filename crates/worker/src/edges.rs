//! The edges that are linked now: all are told when a shard begins to be served
//! here, or is served again, and tell which keys they open tokens with.

use std::collections::HashMap;

use hexagram_core::{Epoch, ShardId};
use hexagram_proto::Outbox;
use hexagram_proto::link::{Active, Resumed, WorkerMessage, worker_message};
use parking_lot::Mutex;

/// The links to edges.
#[derive(Default)]
pub(crate) struct Edges(Mutex<Linked>);

#[derive(Default)]
struct Linked {
    last: u64,
    edges: HashMap<u64, Edge>,
}

/// One edge.
struct Edge {
    outbox: Outbox<WorkerMessage>,
    /// Fingerprints of its key ring; empty where it does not tell.
    keys: Vec<u64>,
}

impl Edges {
    /// A link is up, to an edge with these keys; gives its number.
    pub(crate) fn add(&self, outbox: Outbox<WorkerMessage>, keys: Vec<u64>) -> u64 {
        let mut linked = self.0.lock();
        linked.last += 1;
        let number = linked.last;
        linked.edges.insert(number, Edge { outbox, keys });
        number
    }

    /// The edge has these keys now.
    pub(crate) fn has_keys(&self, number: u64, keys: Vec<u64>) {
        if let Some(edge) = self.0.lock().edges.get_mut(&number) {
            edge.keys = keys;
        }
    }

    /// Those of `keys` that some edge lacks.
    pub(crate) fn lacked(&self, keys: &[u64]) -> Vec<u64> {
        let linked = self.0.lock();
        let told = || linked.edges.values().filter(|edge| !edge.keys.is_empty());
        let lacked = |key: &&u64| told().any(|edge| !edge.keys.contains(key));
        keys.iter().filter(lacked).copied().collect()
    }

    /// The link is down.
    pub(crate) fn remove(&self, number: u64) {
        self.0.lock().edges.remove(&number);
    }

    /// The shard is served here from now on.
    pub(crate) fn active(&self, shard: ShardId, epoch: Epoch) {
        self.tell(&worker_message::Kind::Active(Active {
            shard: shard.get().into(),
            epoch: epoch.get(),
        }));
    }

    /// The shard's move was given up.
    pub(crate) fn resumed(&self, shard: ShardId, epoch: Epoch) {
        self.tell(&worker_message::Kind::Resumed(Resumed {
            shard: shard.get().into(),
            epoch: epoch.get(),
        }));
    }

    fn tell(&self, kind: &worker_message::Kind) {
        for edge in self.0.lock().edges.values() {
            let kind = Some(kind.clone());
            // An edge that is gone learns it from its next Hello.
            let _ = edge.outbox.push(WorkerMessage { kind });
        }
    }
}

#[cfg(test)]
mod tests {
    use hexagram_proto::outbox;

    use super::*;

    #[test]
    fn a_key_is_lacked_until_every_edge_has_it() {
        let edges = Edges::default();
        assert!(edges.lacked(&[1, 2]).is_empty());
        let link = |keys: &[u64]| edges.add(outbox().0, keys.to_vec());
        let (one, other, _silent) = (link(&[1]), link(&[1]), link(&[]));
        assert_eq!(edges.lacked(&[1, 2]), [2]);
        edges.has_keys(one, vec![1, 2]);
        assert_eq!(edges.lacked(&[1, 2]), [2]);
        edges.has_keys(other, vec![2]);
        assert_eq!(edges.lacked(&[1, 2]), [1]);
        edges.remove(other);
        assert!(edges.lacked(&[1, 2]).is_empty());
    }
}
