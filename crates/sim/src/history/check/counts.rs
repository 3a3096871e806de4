//! What a history adds up to.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Invariant, Violation};
use crate::history::{Deed, History, Outcome, Step, served};

/// Numbers of one history, or of many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Messages that ask for an answer.
    pub sent: u64,
    /// That got it.
    pub answered: u64,
    /// Refused: they have not run.
    pub refused: u64,
    /// Their clients were told that they may have run.
    pub unknown: u64,
    /// Refused because their session is not known.
    pub gone: u64,
    /// Lost with their edge, or on the way to it.
    pub cut: u64,
    /// Lost without any sign.
    pub lost: u64,
    /// Calls that ran more than once.
    pub twice: u64,
    /// Planned moves that were carried out.
    pub moves: u64,
    /// Planned moves that were given up.
    pub aborted: u64,
    /// Shards that were given away without their owner's help.
    pub failovers: u64,
    /// For how long a moved shard admitted nothing, in order of length.
    #[serde(with = "micros")]
    pub pauses: Vec<Duration>,
    /// From the last fault until every client was served, in order of length.
    #[serde(with = "micros")]
    pub healings: Vec<Duration>,
}

impl Counts {
    pub(super) fn of(history: &History, violations: &[Violation]) -> Self {
        let mut this = Self::default();
        for exchange in &history.exchanges {
            this.sent += 1;
            *match exchange.outcome {
                Outcome::Answered(_) | Outcome::Forgot(_) => &mut this.answered,
                Outcome::Refused(_) => &mut this.refused,
                Outcome::Unknown => &mut this.unknown,
                Outcome::Gone => &mut this.gone,
                Outcome::Broken | Outcome::Silent => &mut this.cut,
            } += 1;
        }
        let of = |invariant| {
            let found = violations.iter().filter(|one| one.invariant == invariant);
            found.count() as u64
        };
        this.lost = of(Invariant::I10);
        this.cut -= this.lost;
        this.twice = of(Invariant::I3);
        this.count_moves(history);
        this.healings.extend(healing(history));
        this
    }

    fn count_moves(&mut self, history: &History) {
        let mut frozen = BTreeMap::new();
        for event in &history.events {
            match &event.step {
                Step::Shard {
                    what: Deed::Frozen,
                    shard,
                    epoch,
                } => drop(frozen.insert((*shard, *epoch), event.at)),
                Step::Shard {
                    what: Deed::Activated,
                    shard,
                    epoch,
                } => {
                    if let Some(since) = frozen.remove(&(*shard, *epoch)) {
                        self.moves += 1;
                        self.pauses.push(event.at - since);
                    }
                }
                Step::Aborted { .. } => self.aborted += 1,
                Step::Owner { by, .. } => {
                    self.failovers += u64::from(*by == crate::history::Change::FailedOver);
                }
                _ => {}
            }
        }
        self.pauses.sort_unstable();
    }
}

/// Times as numbers of microseconds.
mod micros {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(all: &[Duration], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(all.iter().map(Duration::as_micros))
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Vec<Duration>, D::Error> {
        let all = Vec::<u64>::deserialize(from)?;
        Ok(all.into_iter().map(Duration::from_micros).collect())
    }
}

/// How long it took to serve every client again.
fn healing(history: &History) -> Option<Duration> {
    let healed = history.healed?;
    let clients = history.exchanges.iter().map(|one| one.client).max()?;
    let mut longest = Duration::ZERO;
    for client in 0..=clients {
        longest = longest.max(served(&history.exchanges, client, healed)? - healed);
    }
    Some(longest)
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.answered += other.answered;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.gone += other.gone;
        self.cut += other.cut;
        self.lost += other.lost;
        self.twice += other.twice;
        self.moves += other.moves;
        self.aborted += other.aborted;
        self.failovers += other.failovers;
        self.pauses.extend(other.pauses);
        self.pauses.sort_unstable();
        self.healings.extend(other.healings);
        self.healings.sort_unstable();
    }
}

/// The value below which `percent` of the sorted `all` lie.
fn at(all: &[Duration], percent: usize) -> Duration {
    let last = all.len().saturating_sub(1);
    all.get(last * percent / 100).copied().unwrap_or_default()
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sent,
            answered,
            refused,
            unknown,
            gone,
            cut,
            lost,
            twice,
            ..
        } = self;
        let Self {
            moves,
            aborted,
            failovers,
            pauses,
            healings,
            ..
        } = self;
        writeln!(
            f,
            "sent {sent}, answered {answered}, refused {refused}, unknown {unknown}, \
             session gone {gone}, cut off {cut}, lost silently {lost}, run twice {twice}"
        )?;
        writeln!(
            f,
            "moves {moves}, given up {aborted}, failovers {failovers}; \
             pause p50 {:?}, p99 {:?}, max {:?}",
            at(pauses, 50),
            at(pauses, 99),
            at(pauses, 100)
        )?;
        write!(
            f,
            "full service after the last fault: p50 {:?}, p99 {:?}, max {:?}",
            at(healings, 50),
            at(healings, 99),
            at(healings, 100)
        )
    }
}
