//! Follows the register's map.

use std::sync::Arc;

use hexagram_core::RegisterMap;

use super::handoffs::Handoffs;
use super::{give, load};

/// Does what the register says, for as long as this worker lives.
pub(crate) async fn follow(handoffs: Arc<Handoffs>) {
    let mut register = handoffs.membership.register.clone();
    loop {
        let map = register.borrow_and_update().clone();
        if let Some(map) = map {
            hear(&handoffs, &map);
        }
        if register.changed().await.is_err() {
            // The source is gone; what is known keeps serving (invariant I9).
            return std::future::pending().await;
        }
    }
}

/// Does what a map says. An older one than was heard before changes nothing.
pub(super) fn hear(handoffs: &Arc<Handoffs>, map: &RegisterMap) {
    for (shard, entry) in map.entries() {
        if *entry.owner() != handoffs.me || entry.is_quarantined() {
            handoffs.lose(shard, entry);
            continue;
        }
        let todo = handoffs.own(shard, entry);
        if let Some(epoch) = todo.load {
            tokio::spawn(load::load(Arc::clone(handoffs), shard, epoch));
        }
        if let Some(plan) = todo.give {
            tokio::spawn(give::give(Arc::clone(handoffs), shard, plan));
        }
    }
}
