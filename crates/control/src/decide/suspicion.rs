//! Which shards are suspected of costing their owners' lives (DESIGN section 8).
//!
//! A shard whose owner dies twice, the second time soon after it got the shard, is a
//! suspect. Suspects are given out one at a time to a worker, each on trial until it
//! has been served for a while. Whoever dies meanwhile died of that one, or of one
//! that kills more slowly than its trial took, or of something else: such a death
//! accuses, and the next one that agrees decides.

use std::collections::BTreeMap;
use std::time::Duration;

use hexagram_core::{Epoch, ShardId};

/// An owner that dies within this time may have died of what it was given: the longest
/// trial, and the time in which a hang is noticed.
const SOON: Duration = Duration::from_secs(10);
/// The trial of a shard that cost two or three owners. It doubles with each further one:
/// what kills slowly is found as well.
const TRIAL: Duration = Duration::from_millis(50);
/// Owners that cost a shard no longer trial.
const SPARED: u32 = 3;
/// Doublings after which a trial grows no longer.
const DOUBLINGS: u32 = 7;
/// All suspects together are not tried for longer, however many owners died: they may
/// all be innocent.
const ALL_TRIALS: Duration = Duration::from_secs(60);
/// A trial ends then at the latest, though nobody serves the shard.
const PATIENCE: Duration = Duration::from_secs(10);
/// Restarts of one shard within [`RECENT`]; one more, and it is put in quarantine.
const RESTARTS: usize = 5;
const RECENT: Duration = Duration::from_secs(60);
/// For so long a shard stays in quarantine.
const QUARANTINE: Duration = Duration::from_secs(600);

/// What is remembered of shards that were lost. A lost memory costs some more
/// owners: suspicion begins anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suspicions {
    shards: BTreeMap<ShardId, Record>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Record {
    /// Owners that died, each soon after it got the shard.
    lost: u32,
    /// It was on trial when its owner died, or was in quarantine before.
    accused: bool,
    /// The epoch of the owner that was counted last.
    counted: Option<Epoch>,
    /// When it was given to its owner, and when that was first seen to serve it.
    given: Option<Duration>,
    served: Option<Duration>,
    /// When it was restarted.
    restarts: Vec<Duration>,
    /// Since when it is in quarantine.
    quarantined: Option<Duration>,
}

/// One of the shards that a dead worker owned, and in which epoch.
pub(super) type Lost = (ShardId, Epoch);

impl Suspicions {
    /// Forgets what is long ago.
    pub(super) fn forget(&mut self, now: Duration) {
        for record in self.shards.values_mut() {
            record
                .restarts
                .retain(|at| now.saturating_sub(*at) < RECENT);
        }
        self.shards.retain(|_, record| record.matters(now));
    }

    /// A worker is dead that owned these; gives the one that it died of, if that is
    /// known. What was counted is not counted again.
    pub(super) fn died(&mut self, owned: &[Lost], now: Duration) -> Option<ShardId> {
        let fresh: Vec<_> = owned.iter().filter(|lost| !self.is_counted(lost)).collect();
        let mut tried = fresh.iter().filter(|(shard, _)| self.is_tried(*shard, now));
        let accused = match (tried.next(), tried.next()) {
            (Some((shard, _)), None) => Some(*shard),
            _ => None,
        };
        let culprit = accused.filter(|shard| self.is_accused(*shard));
        if let Some(record) = accused.and_then(|shard| self.shards.get_mut(&shard)) {
            record.accused = true;
        }
        for (shard, epoch) in fresh {
            let record = self.shards.entry(*shard).or_default();
            record.counted = Some(*epoch);
            if culprit.is_none_or(|culprit| culprit == *shard) {
                record.count(now);
            }
        }
        culprit
    }

    fn is_counted(&self, (shard, epoch): &Lost) -> bool {
        let record = self.shards.get(shard);
        record.is_some_and(|record| record.counted >= Some(*epoch))
    }

    /// Whether the shard is to be given out alone.
    pub(super) fn is_suspect(&self, shard: ShardId) -> bool {
        let record = self.shards.get(&shard);
        record.is_some_and(Record::is_suspect)
    }

    /// Whether the shard is to be tried before others.
    pub(super) fn is_accused(&self, shard: ShardId) -> bool {
        let record = self.shards.get(&shard);
        record.is_some_and(|record| record.accused)
    }

    /// Whether the shard has not been with its owner for long enough.
    pub(super) fn is_tried(&self, shard: ShardId, now: Duration) -> bool {
        let most = self.longest();
        let record = self.shards.get(&shard);
        record.is_some_and(|record| record.is_tried(most, now))
    }

    /// How long a trial may be, for so many suspects as there are.
    fn longest(&self) -> Duration {
        let suspects = self.shards.values().filter(|record| record.is_suspect());
        let suspects = u32::try_from(suspects.count()).unwrap_or(u32::MAX);
        ALL_TRIALS / suspects.max(1)
    }

    /// When the next trial of a shard that is served ends, if any does.
    #[must_use]
    pub fn next_end(&self, now: Duration) -> Option<Duration> {
        let most = self.longest();
        let tried = self.shards.values();
        let tried = tried.filter(|record| record.is_tried(most, now));
        tried
            .filter_map(|record| Some(record.served? + record.trial(most)))
            .min()
    }

    /// The shard, whose owner was lost, has a new one.
    pub(super) fn given(&mut self, shard: ShardId, now: Duration) {
        let record = self.shards.entry(shard).or_default();
        (record.given, record.served, record.quarantined) = (Some(now), None, None);
    }

    /// The shard's owner serves it.
    pub(super) fn served(&mut self, shard: ShardId, now: Duration) {
        let most = self.longest();
        if let Some(record) = self.shards.get_mut(&shard) {
            record.served.get_or_insert(now);
            record.accused &= record.is_tried(most, now);
        }
    }

    /// The shard's own code has failed; gives whether it may be restarted.
    pub(super) fn failed(&mut self, shard: ShardId, now: Duration) -> bool {
        let record = self.shards.entry(shard).or_default();
        record.restarts.push(now);
        record.restarts.len() <= RESTARTS
    }

    /// The shard is in quarantine no more, if it was: somebody gave it away.
    pub(super) fn lifted(&mut self, shard: ShardId, now: Duration) {
        let record = self.shards.get(&shard);
        if record.is_some_and(|record| record.quarantined.is_some()) {
            self.given(shard, now);
        }
    }

    /// The shard is in quarantine; gives whether that is over. The next owner has it
    /// on trial.
    pub(super) fn is_released(&mut self, shard: ShardId, now: Duration) -> bool {
        let record = self.shards.entry(shard).or_default();
        (record.lost, record.accused) = (record.lost.max(2), true);
        let since = *record.quarantined.get_or_insert(now);
        now.saturating_sub(since) >= QUARANTINE
    }
}

impl Record {
    fn count(&mut self, now: Duration) {
        let soon = self
            .given
            .is_some_and(|given| now.saturating_sub(given) < SOON);
        self.lost = if soon { self.lost + 1 } else { 1 };
        (self.given, self.served) = (None, None);
    }

    const fn is_suspect(&self) -> bool {
        self.lost > 1
    }

    fn trial(&self, most: Duration) -> Duration {
        let doublings = self.lost.saturating_sub(SPARED).min(DOUBLINGS);
        (TRIAL * 2_u32.pow(doublings)).min(most)
    }

    fn is_tried(&self, most: Duration, now: Duration) -> bool {
        let within = |since: Option<Duration>, time| {
            since.is_some_and(|since| now.saturating_sub(since) < time)
        };
        self.is_suspect()
            && match self.served {
                Some(_) => within(self.served, self.trial(most)),
                None => within(self.given, PATIENCE),
            }
    }

    /// Whether anything that it says can still count.
    fn matters(&self, now: Duration) -> bool {
        let is_recent = self
            .given
            .is_none_or(|given| now.saturating_sub(given) < SOON);
        let waits = self.lost > 0 && is_recent;
        waits || !self.restarts.is_empty() || self.quarantined.is_some()
    }
}
