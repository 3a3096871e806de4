//! Moves and ends of processes: I7 and I11.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Found, Invariant, Limits};
use crate::history::{Deed, Event, History, Step};

#[derive(Default)]
struct Moves {
    /// Plans of the register that have not ended, since when.
    plans: BTreeMap<u16, (u64, Duration)>,
    /// Who is named by the register as a shard's owner or taker.
    owners: BTreeMap<u16, String>,
    takers: BTreeMap<u16, String>,
    /// Shards that are frozen at a worker.
    frozen: BTreeMap<(String, u16), Duration>,
    asked: BTreeMap<String, Duration>,
    /// Workers that have served, or begun to take a shard, and live.
    able: BTreeSet<String>,
    /// Who has served, or begun to take, which shard.
    heard: BTreeSet<(String, u16)>,
}

pub(super) fn check(history: &History, limits: &Limits, found: &mut Found) {
    let mut moves = Moves::default();
    for event in &history.events {
        moves.hear(event, limits, found);
    }
    moves.close(history.end, limits, found);
}

impl Moves {
    fn hear(&mut self, event: &Event, limits: &Limits, found: &mut Found) {
        match &event.step {
            Step::Planned { shard, epoch, to } => {
                self.plans.insert(*shard, (*epoch, event.at));
                self.takers.insert(*shard, to.clone());
            }
            Step::Owner { shard, owner, .. } => {
                self.settle(*shard, event, limits, found);
                self.owners.insert(*shard, owner.clone());
            }
            Step::Aborted { shard, .. } => self.settle(*shard, event, limits, found),
            Step::Forgot => {
                *self = Self {
                    frozen: std::mem::take(&mut self.frozen),
                    asked: std::mem::take(&mut self.asked),
                    able: std::mem::take(&mut self.able),
                    heard: std::mem::take(&mut self.heard),
                    ..Self::default()
                }
            }
            Step::Asked => drop(self.asked.insert(event.who(), event.at)),
            Step::Ended => self.ended(event, limits, found),
            Step::Crashed { .. } => {
                self.able.remove(&event.who());
                self.frozen.retain(|(who, _), _| *who != event.who());
            }
            Step::Shard { what, shard, .. } => self.did(event, *what, *shard, limits, found),
            _ => {}
        }
    }

    /// A move has ended.
    fn settle(&mut self, shard: u16, event: &Event, limits: &Limits, found: &mut Found) {
        self.takers.remove(&shard);
        if let Some((epoch, since)) = self.plans.remove(&shard) {
            late(shard, epoch, event.at - since, event.at, limits, found);
        }
    }

    fn did(&mut self, event: &Event, what: Deed, shard: u16, limits: &Limits, found: &mut Found) {
        let key = (event.who(), shard);
        match what {
            Deed::Activated | Deed::Prepared => {
                self.able.insert(event.who());
                self.heard.insert(key);
            }
            Deed::Frozen => drop(self.frozen.insert(key, event.at)),
            Deed::Granted | Deed::Resumed | Deed::Left => {
                let Some(since) = self.frozen.remove(&key) else {
                    return;
                };
                let took = event.at - since;
                if took > limits.freeze {
                    let what = format!("{} has shard {shard} frozen for {took:?}", event.who());
                    found.add(Invariant::I7, event.at, what);
                }
            }
            _ => {}
        }
    }

    fn ended(&mut self, event: &Event, limits: &Limits, found: &mut Found) {
        let who = event.who();
        self.frozen.retain(|(owner, _), _| *owner != who);
        let asked = self.asked.get(&who);
        let is_over = asked.is_some_and(|asked| event.at - *asked >= limits.grace);
        let named = self.owners.iter().chain(&self.takers);
        let named = named.filter(|(_, owner)| **owner == who);
        // The register may have named it in an answer that never arrived.
        let has_heard = |shard: &&u16| self.heard.contains(&(who.clone(), **shard));
        let named: BTreeSet<_> = named.map(|(shard, _)| shard).filter(has_heard).collect();
        self.able.remove(&who);
        // Without another worker there is nothing to wait for.
        if !named.is_empty() && !is_over && !self.able.is_empty() {
            let what = format!("{who} ends while the register names it for shards {named:?}");
            found.add(Invariant::I11, event.at, what);
        }
    }

    fn close(&self, end: Duration, limits: &Limits, found: &mut Found) {
        for (shard, (epoch, since)) in &self.plans {
            late(*shard, *epoch, end - *since, end, limits, found);
        }
        for ((who, shard), since) in &self.frozen {
            if end - *since > limits.freeze {
                let what = format!("{who} still has shard {shard} frozen");
                found.add(Invariant::I7, end, what);
            }
        }
    }
}

fn late(shard: u16, epoch: u64, took: Duration, at: Duration, limits: &Limits, found: &mut Found) {
    if took > limits.moving {
        let what = format!("the move of shard {shard} in epoch {epoch} takes {took:?}");
        found.add(Invariant::I7, at, what);
    }
}
