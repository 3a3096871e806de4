//! Who lives, as the driver hears it: from the watchers that it employs, and from the platform.

use std::sync::OnceLock;

use hexagram_core::{Owner, RegisterMap};
use tokio_util::task::AbortOnDropHandle;

use super::{Driver, QUEUE};
use crate::fleet::Life;
use crate::watcher::{Death, Sign, Watcher};

impl<R> Driver<R> {
    pub(super) fn hear(&mut self, owner: &Owner, sign: Sign) {
        let before = self.fleet.life(owner);
        match sign {
            Sign::Report(report) => self.fleet.reported(owner, report),
            Sign::Silent => self.fleet.suspect(owner),
            Sign::Died(Death::Refused) => self.fleet.died(owner),
            Sign::Died(Death::Silent) => self.fleet.fell_silent(owner),
        }
        let life = self.fleet.life(owner);
        if life != before {
            self.tell_life(owner, life);
            self.look();
        }
    }

    fn tell_life(&self, worker: &Owner, life: Life) {
        let has_crashed = life == Life::Dead && !self.fleet.ended(worker);
        let silent = self.fleet.is_silent(worker);
        match life {
            _ if has_crashed => tracing::warn!(%worker, silent, "a worker died"),
            Life::Suspect => tracing::warn!(%worker, "a worker is silent"),
            _ => tracing::info!(%worker, ?life, "a worker's life changed"),
        }
    }

    /// Hears what was said while something was awaited, which may have taken long.
    pub(super) fn catch_up(&mut self) {
        for _ in 0..QUEUE {
            let Ok((owner, sign)) = self.heard.try_recv() else {
                return;
            };
            self.hear(&owner, sign);
        }
    }

    /// Takes in whom the map names.
    pub(super) fn recall(&mut self, map: &RegisterMap) {
        for (owner, address) in map.addresses() {
            if self.fleet.recall(owner, address) {
                tracing::info!(
                    worker = %owner,
                    address,
                    "the register names a worker that has not been heard of: it is asked, and \
                     declared dead where it does not answer for some seconds"
                );
            }
        }
    }

    /// Takes the platform's word for who is gone.
    pub(super) fn bury(&mut self) {
        for worker in self.fleet.bury() {
            tracing::info!(%worker, "a worker is dead: the platform has none of its name");
        }
    }

    /// Forgets the dead that own nothing. Not while some of them are held, which may live.
    pub(super) fn forget(&mut self, map: &RegisterMap) {
        if !self.hold.is_on() {
            self.fleet.forget(map);
        }
    }

    /// Decides anew whose silence is believed. At each change: one who came back for a moment
    /// between two decisions was heard.
    pub(super) fn look(&mut self) {
        let was_on = self.hold.is_on();
        self.hold.look(&self.fleet, self.started.elapsed());
        match (was_on, self.hold.is_on()) {
            (false, true) => tracing::warn!(
                "most workers, or all, fell silent together: this controller may be cut off, and \
                 leaves them their shards until they had time to be heard again"
            ),
            (true, false) => tracing::info!("silence is believed again: who is silent is dead"),
            _ => {}
        }
    }

    /// Has everybody watched who may live, and nobody else.
    pub(super) fn employ(&mut self) {
        let (fleet, settings, signs) = (&self.fleet, &self.settings, &self.signs);
        let watched = || fleet.members().filter(|(owner, _)| !fleet.successor(owner));
        let wanted = |owner: &Owner, address: &str| {
            watched().any(|(known, member)| known == owner && member.address == address)
        };
        self.watchers
            .retain(|owner, (address, _)| wanted(owner, address));
        for (owner, member) in watched() {
            let watch = || {
                let watcher = Watcher {
                    owner: owner.clone(),
                    address: (settings.dial)(&member.address),
                    cluster: settings.cluster.clone(),
                    shards: settings.shards,
                    signs: signs.clone(),
                    heard: member.heard,
                    unreached: OnceLock::new(),
                    unheard: OnceLock::new(),
                };
                (
                    member.address.clone(),
                    AbortOnDropHandle::new(tokio::spawn(watcher.run())),
                )
            };
            self.watchers.entry(owner.clone()).or_insert_with(watch);
        }
    }
}
