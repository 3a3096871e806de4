//! The edges that are linked now: all are told when a shard begins to be served
//! here, or is served again.

use std::collections::HashMap;

use hexagram_core::{Epoch, ShardId};
use hexagram_proto::Outbox;
use hexagram_proto::link::{Active, Resumed, WorkerMessage, worker_message};
use parking_lot::Mutex;

/// The links' outboxes.
#[derive(Default)]
pub(crate) struct Edges(Mutex<Linked>);

#[derive(Default)]
struct Linked {
    last: u64,
    outboxes: HashMap<u64, Outbox<WorkerMessage>>,
}

impl Edges {
    /// A link is up; gives its number.
    pub(crate) fn add(&self, outbox: Outbox<WorkerMessage>) -> u64 {
        let mut linked = self.0.lock();
        linked.last += 1;
        let number = linked.last;
        linked.outboxes.insert(number, outbox);
        number
    }

    /// The link is down.
    pub(crate) fn remove(&self, number: u64) {
        self.0.lock().outboxes.remove(&number);
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
        for outbox in self.0.lock().outboxes.values() {
            let kind = Some(kind.clone());
            // An edge that is gone learns it from its next Hello.
            let _ = outbox.push(WorkerMessage { kind });
        }
    }
}
