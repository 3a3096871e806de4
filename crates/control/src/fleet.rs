//! What the controller knows of the workers: who lives, and what they report.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use hexagram_core::{Epoch, Owner, RegisterMap, Setup, ShardCount, ShardId, WorkerId};
use hexagram_proto::Malformed;
use hexagram_proto::admin::{self, Phase};

use crate::introduction::{Introduction, Misfit};
use crate::sights::{self, Sights};

mod silence;
#[cfg(test)]
mod tests;

/// Earlier lives of names that are remembered, so that none of them joins again.
const EARLIER: usize = 64;

/// Whether a worker lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Not known yet, or silent: it may be serving all the same.
    Suspect,
    /// It reports.
    Alive,
    /// Its process ended, or it failed the probes after its silence.
    Dead,
}

/// A worker's word about one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Where it stands.
    pub phase: Phase,
    /// The epoch served, claimed or granted.
    pub epoch: Option<Epoch>,
    /// The highest epoch heard of.
    pub spent: Option<Epoch>,
    /// A planned move was given up: its epoch.
    pub resumed: Option<Epoch>,
    /// Its own code failed in this epoch.
    pub failed: Option<Epoch>,
    /// What it takes of its worker, in millionths of one core's time.
    pub load: u64,
}

/// A worker's last report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Every shard that it knows an epoch of.
    pub shards: BTreeMap<ShardId, Held>,
    /// It wants to end.
    pub draining: bool,
    /// What it can do, in the unit of the loads.
    pub capacity: u64,
    /// What it knows of its upstreams; none where it does not tell, and in a report that
    /// follows another closely.
    pub upstreams: Option<Sights>,
}

/// One worker in one life.
#[derive(Clone, Debug)]
pub struct Member {
    /// Where it is reached.
    pub address: String,
    /// Whether it lives.
    pub life: Life,
    /// What it said last; of a dead worker only its epochs count.
    pub report: Option<Report>,
    /// Its last word was that it leaves.
    pub left: bool,
    /// What it said it works with when it joined.
    pub setup: Setup,
    /// Whether this controller has heard it, rather than of it.
    pub heard: bool,
    /// Whether a controller of this cluster had taken it in before this one.
    again: bool,
    /// It was put out: nothing that it says makes it live.
    out: bool,
    /// It is dead, and only its silence says so.
    silent: bool,
    /// Its reports stopped, or a probe failed, since it was heard last.
    missed: bool,
    /// Counts those that were taken in.
    number: u64,
}

/// Why a worker is not taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// Another process with the same name lives.
    #[error(
        "another process has joined as {0} since: give each worker its own --name, and end this one"
    )]
    Superseded(WorkerId),
    /// Another process with the same name was here before and reports.
    #[error(
        "the worker at {address} is called {name} already, and it lives: give each worker its own \
         --name, or end that one"
    )]
    NameTaken {
        /// What both are called.
        name: WorkerId,
        /// Where the one that lives is reached.
        address: String,
    },
    /// It does not go with one that lives.
    #[error(transparent)]
    Misfit(#[from] Misfit),
}

/// All workers known.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    members: BTreeMap<Owner, Member>,
    /// How many were ever taken in.
    taken: u64,
    /// Those whose end is near, as somebody outside says.
    outgoing: BTreeSet<WorkerId>,
    /// The names of all that are there, as the platform says.
    present: BTreeSet<WorkerId>,
}

impl Report {
    /// What a worker sent.
    ///
    /// # Errors
    /// A shard that the cluster does not have, or an unknown phase.
    pub fn read(report: &admin::Report, count: ShardCount) -> Result<Self, Malformed> {
        let held = |held: &admin::Held| {
            let number = u16::try_from(held.shard).ok();
            let shard = number.and_then(|number| count.shard(number));
            let phase = Phase::try_from(held.phase).map_err(|_| Malformed("phase"))?;
            let read = Held {
                phase,
                epoch: Epoch::new(held.epoch),
                spent: Epoch::new(held.spent).max(Epoch::new(held.epoch)),
                resumed: Epoch::new(held.resumed),
                failed: Epoch::new(held.failed),
                load: held.load.into(),
            };
            Ok((shard.ok_or(Malformed("shard"))?, read))
        };
        Ok(Self {
            shards: report.shards.iter().map(held).collect::<Result<_, _>>()?,
            draining: report.draining,
            capacity: report.capacity.into(),
            upstreams: report.upstreams.as_ref().map(sights::read),
        })
    }
}

impl Fleet {
    /// Takes a worker in, suspect until it reports. The earlier lives of its
    /// name are over. Gives whether it is news.
    ///
    /// # Errors
    /// When it is itself an earlier life, when its name is that of another that reports,
    /// or when it does not go with one that lives.
    pub fn join(&mut self, who: &Introduction) -> Result<bool, NotTaken> {
        let (owner, address) = (&who.owner, &who.address);
        if let Some(member) = self.members.get(owner).filter(|member| !member.out) {
            if self.successor(owner) {
                return Err(NotTaken::Superseded(owner.worker.clone()));
            }
            let moved = member.address != *address;
            let who = Introduction {
                again: who.again || member.again,
                ..who.clone()
            };
            self.put_out(&who);
            self.tell(&who);
            return Ok(moved);
        }
        self.name_is_free(who)?;
        self.fits(who)?;
        self.put_out(who);
        for (earlier, member) in &mut self.members {
            if earlier.worker == owner.worker {
                member.die();
            }
        }
        self.members.remove(owner);
        self.take(owner, address);
        self.tell(who);
        Ok(true)
    }

    /// What a member says of itself.
    fn tell(&mut self, who: &Introduction) {
        if let Some(member) = self.members.get_mut(&who.owner) {
            member.address.clone_from(&who.address);
            member.setup.clone_from(&who.setup);
            member.again |= who.again;
            member.heard = true;
        }
    }

    /// Whether no other process of its name reports. One at the same address is gone: the
    /// port is the new one's. Nor has one the name that no controller of this cluster has
    /// taken in before, where one did with this worker.
    fn name_is_free(&self, who: &Introduction) -> Result<(), NotTaken> {
        let has_it = |(other, member): &(&Owner, &Member)| {
            other.worker == who.owner.worker
                && member.life == Life::Alive
                && member.address != who.address
                && (member.again || !who.again)
        };
        match self.members.iter().find(has_it) {
            None => Ok(()),
            Some((other, member)) => Err(NotTaken::NameTaken {
                name: other.worker.clone(),
                address: member.address.clone(),
            }),
        }
    }

    /// Whether a worker may serve beside those that live. The earlier lives of its
    /// name are not asked: they end as it joins. Nor are those that a controller of this
    /// cluster has not taken in before, where one did with this worker.
    fn fits(&self, who: &Introduction) -> Result<(), Misfit> {
        let others = self.others(who);
        let others = others.filter(|(_, member)| member.again || !who.again);
        let mut fits = others.map(|(other, member)| who.fits(&other.worker, &member.setup));
        fits.find(Result::is_err).unwrap_or(Ok(()))
    }

    /// Ends the membership of those that came to a controller without memory first and do
    /// not go with a worker that was a member before.
    fn put_out(&mut self, who: &Introduction) {
        let is_misfit = |(other, member): &(&Owner, &Member)| {
            who.again && !member.again && who.fits(&other.worker, &member.setup).is_err()
        };
        let misfits = self.others(who).filter(is_misfit);
        let misfits: Vec<_> = misfits.map(|(other, _)| other.clone()).collect();
        for misfit in misfits {
            if let Some(member) = self.members.get_mut(&misfit) {
                tracing::warn!(worker = %misfit, by = %who.owner, "a worker is put out: it does not go with one that was here before");
                member.die();
                member.out = true;
            }
        }
    }

    fn others(&self, who: &Introduction) -> impl Iterator<Item = (&Owner, &Member)> {
        self.members
            .iter()
            .filter(|(other, member)| member.life != Life::Dead && other.worker != who.owner.worker)
    }

    /// Takes in whom the register names, suspect until it reports. Which life of a
    /// name is the latest is not known then. Gives whether it is news.
    pub fn recall(&mut self, owner: &Owner, address: &str) -> bool {
        let is_new = self.take(owner, address);
        if is_new && let Some(member) = self.members.get_mut(owner) {
            member.again = true;
        }
        is_new
    }

    fn take(&mut self, owner: &Owner, address: &str) -> bool {
        let is_new = !self.members.contains_key(owner);
        let member = || Member {
            address: address.to_owned(),
            life: Life::Suspect,
            report: None,
            left: false,
            setup: Setup::default(),
            heard: false,
            again: false,
            out: false,
            silent: false,
            missed: false,
            number: self.taken,
        };
        self.members.entry(owner.clone()).or_insert_with(member);
        self.taken += u64::from(is_new);
        is_new
    }

    /// Whose end is near, all of them: they keep their shards until they drain, and are
    /// given none where others can take them.
    pub fn set_outgoing(&mut self, outgoing: BTreeSet<WorkerId>) {
        self.outgoing = outgoing;
    }

    /// Whether its end is near.
    #[must_use]
    pub fn is_outgoing(&self, worker: &WorkerId) -> bool {
        self.outgoing.contains(worker)
    }

    /// Whether a dead `owner`'s name is another's now.
    #[must_use]
    pub fn successor(&self, owner: &Owner) -> bool {
        let same_name = |other: &Owner| other.worker == owner.worker && other != owner;
        let mut others = self.members.iter().filter(|(other, _)| same_name(other));
        self.life(owner) == Life::Dead && others.any(|(_, member)| member.life != Life::Dead)
    }

    /// `owner` said something, so it lives. Of its upstreams what it told before stands
    /// until it tells again.
    pub fn reported(&mut self, owner: &Owner, mut report: Report) {
        if self.successor(owner) {
            return;
        }
        if let Some(member) = self.members.get_mut(owner).filter(|member| !member.out) {
            let known = member.report.take().and_then(|known| known.upstreams);
            report.upstreams = report.upstreams.or(known);
            member.life = Life::Alive;
            member.report = Some(report);
            (member.left, member.silent, member.missed) = (false, false, false);
            member.heard = true;
        }
    }

    /// `owner` is silent.
    pub fn suspect(&mut self, owner: &Owner) {
        if let Some(member) = self.members.get_mut(owner) {
            member.missed = true;
            if member.life == Life::Alive {
                member.life = Life::Suspect;
            }
        }
    }

    /// `owner` is dead, beyond doubt.
    pub fn died(&mut self, owner: &Owner) {
        if let Some(member) = self.members.get_mut(owner) {
            member.die();
        }
    }

    /// `owner` says that its process ends.
    pub fn left(&mut self, owner: &Owner) {
        if let Some(member) = self.members.get_mut(owner) {
            member.die();
            member.left = true;
        }
    }

    /// Whether `owner` is dead because it was told to end, with or without shards
    /// that nobody took in time. Its closed port may be noticed before its word comes:
    /// then what it reported last counts.
    #[must_use]
    pub fn ended(&self, owner: &Owner) -> bool {
        let member = self.members.get(owner);
        member.is_some_and(|member| {
            let drained = member.report.as_ref().is_some_and(|report| report.draining);
            member.life == Life::Dead && (member.left || drained)
        })
    }

    /// Forgets the dead that `map` names no more. An earlier life is remembered
    /// while a later one lives: it may still try to join.
    pub fn forget(&mut self, map: &RegisterMap) {
        let named = |owner: &Owner| map.entries().any(|(_, entry)| names(entry, owner));
        let gone = |owner: &Owner| self.life(owner) == Life::Dead && !self.successor(owner);
        let earlier = |owner: &&Owner| self.successor(owner) && !named(owner);
        // A worker that dies again and again has many.
        let mut lives: Vec<_> = self.members.keys().filter(earlier).collect();
        lives.sort_by_key(|owner| Reverse(self.members[*owner].number));
        let dead = self.members.keys();
        let dead = dead.filter(|owner| gone(owner) && !named(owner));
        let gone = dead.chain(lives.into_iter().skip(EARLIER));
        let gone: BTreeSet<_> = gone.cloned().collect();
        self.members.retain(|owner, _| !gone.contains(owner));
    }

    /// Whether `owner` lives. Who was never heard of is dead: whoever the
    /// register names with an address is known.
    #[must_use]
    pub fn life(&self, owner: &Owner) -> Life {
        self.members
            .get(owner)
            .map_or(Life::Dead, |member| member.life)
    }

    /// A worker by name, in its latest life.
    #[must_use]
    pub fn named(&self, name: &WorkerId) -> Option<(&Owner, &Member)> {
        let lives = self
            .members
            .iter()
            .filter(|(owner, _)| owner.worker == *name);
        lives.max_by_key(|(_, member)| member.life != Life::Dead)
    }

    /// All workers known.
    pub fn members(&self) -> impl Iterator<Item = (&Owner, &Member)> {
        self.members.iter()
    }

    /// Those that live, with what they report.
    pub fn living(&self) -> impl Iterator<Item = (&Owner, &Report)> {
        let alive = self
            .members
            .iter()
            .filter(|(_, member)| member.life == Life::Alive);
        alive.filter_map(|(owner, member)| Some((owner, member.report.as_ref()?)))
    }

    /// The highest epoch of `shard` that any worker ever reported.
    #[must_use]
    pub fn spent(&self, shard: ShardId) -> Option<Epoch> {
        let reports = self
            .members
            .values()
            .filter_map(|member| member.report.as_ref());
        reports
            .filter_map(|report| report.shards.get(&shard)?.spent)
            .max()
    }

    /// What a worker can do, as it said last; 0 where it did not say.
    #[must_use]
    pub fn capacity(&self, owner: &Owner) -> u64 {
        let report = self
            .members
            .get(owner)
            .and_then(|member| member.report.as_ref());
        report.map_or(0, |report| report.capacity)
    }

    /// Whether `owner`, dead or alive, ever said that it took `shard` in `epoch`.
    #[must_use]
    pub fn took(&self, owner: &Owner, shard: ShardId, epoch: Epoch) -> bool {
        let member = self.members.get(owner);
        let report = member.and_then(|member| member.report.as_ref());
        let held = report.and_then(|report| report.shards.get(&shard));
        held.is_some_and(|held| held.spent >= Some(epoch))
    }

    /// What a living worker says of `shard`; `None` where it said nothing yet. A
    /// shard that it does not mention is absent there.
    #[must_use]
    pub fn held(&self, owner: &Owner, shard: ShardId) -> Option<Held> {
        let member = self.members.get(owner)?;
        let report = member
            .report
            .as_ref()
            .filter(|_| member.life == Life::Alive)?;
        Some(report.shards.get(&shard).copied().unwrap_or(Held::NOTHING))
    }
}

impl Member {
    /// It is dead, and more than its silence says so.
    const fn die(&mut self) {
        (self.life, self.silent) = (Life::Dead, false);
    }
}

impl Held {
    const NOTHING: Self = Self {
        phase: Phase::Absent,
        epoch: None,
        spent: None,
        resumed: None,
        failed: None,
        load: 0,
    };
}

fn names(entry: &hexagram_core::Entry<Owner>, owner: &Owner) -> bool {
    entry.owner() == owner || entry.plan().is_some_and(|plan| plan.to == *owner)
}
