//! Serving a shard that nobody gives, from what the store holds; and what the store has
//! to say to those who serve.

use std::sync::Arc;

use hexagram_core::{Epoch, Phase, ShardId};
use hexagram_runtime::clock;
use hexagram_store::{Event, Health};
use prometheus::IntGauge;
use tokio::sync::mpsc;

use super::handoffs::Handoffs;
use super::state::Heir;
use super::storage::{Left, Loaded, Storage};
use crate::former::Former;
use crate::shard::{Shard, Table};

/// What the store asks for, until it is done.
const EVENTS: usize = 64;

/// Serves a shard whose epoch this worker has claimed at its machine.
pub(super) async fn load(handoffs: Arc<Handoffs>, shard: ShardId, epoch: Epoch) {
    let Some(storage) = &handoffs.storage else {
        return;
    };
    let loaded = match storage.load(shard, epoch).await {
        Loaded::Fenced(by) => return handoffs.fenced(shard, by),
        Loaded::Record(left) => {
            let Left { state, named } = *left;
            let former = named.and_then(|named| {
                let address = handoffs.address_of(&named);
                Former::of(&state, named, address)
            });
            let ledger = storage.ledger(shard, epoch, true);
            let heir = Heir {
                id: shard,
                epoch,
                host: &handoffs.host,
                kept: &handoffs.kept,
                ledger: Some(ledger),
                after_loss: true,
            };
            heir.import(state).inspect(|shard| {
                *shard.former.lock() = former.map(Arc::new);
                shard.forget_dead(clock::unix_seconds());
            })
        }
        Loaded::Away => {
            tracing::warn!(
                shard = shard.get(),
                "served without its stored sessions: the store does not answer"
            );
            Ok(unknown(storage, shard, epoch))
        }
    };
    let shard = loaded.unwrap_or_else(|error| {
        tracing::error!(shard = shard.get(), %error, "what the store holds is unreadable: its sessions are gone");
        unknown(storage, shard, epoch)
    });
    let mut seat = handoffs.seats[shard.id.index()].lock();
    if !handoffs.activate(&mut seat, Arc::new(shard)) {
        tracing::debug!("a shard that was loaded is another's by now");
    }
}

/// Nothing is known of what earlier owners held or deleted.
fn unknown(storage: &Storage, shard: ShardId, epoch: Epoch) -> Shard {
    let ledger = storage.ledger(shard, epoch, false);
    Shard::with(shard, epoch, epoch, Table::default(), Some(ledger))
}

/// Has the store written, where there is one, for as long as this worker lives.
pub(crate) async fn store(handoffs: Arc<Handoffs>) {
    if let Some(storage) = &handoffs.storage {
        let (told, events) = mpsc::channel(EVENTS);
        let up = &handoffs.host.metrics.store_up;
        tokio::join!(
            storage.writer.clone().run(told),
            heed(&handoffs, events),
            show(storage, up)
        );
    }
}

/// Shows whether the store answers.
async fn show(storage: &Storage, up: &IntGauge) {
    let mut health = storage.writer.health();
    loop {
        up.set(i64::from(*health.borrow_and_update() == Health::Up));
        if health.changed().await.is_err() {
            return;
        }
    }
}

/// Does what the store asks for.
async fn heed(handoffs: &Handoffs, mut events: mpsc::Receiver<Event>) {
    while let Some(event) = events.recv().await {
        match event {
            Event::Fenced { shard, by, .. } => handoffs.fenced(shard, by),
            Event::Behind { shard, epoch } => handoffs.rewrite(shard, epoch),
        }
    }
}

impl Handoffs {
    /// The store knows a later owner than this worker.
    pub(super) fn fenced(&self, shard: ShardId, by: Epoch) {
        let mut seat = self.seats[shard.index()].lock();
        // Whoever was granted it is expected to claim it.
        if !matches!(seat.holding.phase(), Phase::Granted(_)) && seat.holding.superseded(by) {
            tracing::warn!(
                shard = shard.get(),
                epoch = by.get(),
                "the store knows a later owner"
            );
            self.leave(shard, None, false);
            self.tell_controller();
        }
    }

    /// Says all of a shard to a store that has lost it.
    fn rewrite(&self, shard: ShardId, epoch: Epoch) {
        let served = self.host.place_of(shard).shard();
        if let Some(shard) = served.filter(|shard| shard.epoch == epoch)
            && let (Some(storage), Some(ledger)) = (&self.storage, shard.ledger())
        {
            tracing::info!(shard = shard.id.get(), "written to the store anew");
            let record = shard.entries(&self.host.federation(), ledger);
            storage
                .writer
                .rewrite(ledger.journal(), shard.floor(), record);
        }
    }
}
