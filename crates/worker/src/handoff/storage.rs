//! The store as the shards of one worker use it.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hexagram_core::{DeadSet, Epoch, EventId, SessionKey, ShardId, StreamKind};
use hexagram_proto::handoff::{
    self, DeadExpiry, DeadWords, RecordMark, SessionState, ShardState, StoredTails, Tail,
};
use hexagram_runtime::clock;
use hexagram_store::{Claim, ClaimMode, Claimed, Health, Mark, Record, Store, StoreError, Writer};
use parking_lot::Mutex;
use prost::Message;
use tokio::time::{Instant, sleep, timeout_at};

use crate::ledger::Ledger;
use crate::replay::LIMITS;

/// A shard that nobody gives waits this long for a store that should answer; then it is
/// served without what it holds.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// A shard that somebody gives: its clients wait meanwhile.
pub(super) const SHORT: Duration = Duration::from_millis(150);
const AGAIN: Duration = Duration::from_millis(50);
/// The same, of a store that goes on sending: a record that takes longer is given up.
const LONGEST: Duration = Duration::from_secs(30);

/// A worker's store.
pub(crate) struct Storage {
    pub(super) writer: Writer,
    memory_secs: u64,
}

/// What a record that was claimed says of a shard that somebody has given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// All that the giver had to say.
    All,
    /// What it had written until it gave: some was on its way. What it has said since is
    /// written over it; the record is never empty.
    Most,
    /// Something else, or nothing: it is written anew.
    Nothing,
}

impl Known {
    /// Of a record with this floor that is there and was left so.
    pub(super) fn of(state: &ShardState, floor: Epoch, left: Option<RecordMark>) -> Self {
        let is_written = |mine: &RecordMark, there: &RecordMark| {
            mine.epoch == there.epoch && there.number >= mine.number
        };
        match (&state.left, &left) {
            _ if floor.get() > state.floor => Self::Nothing,
            // A giver of an older release does not tell.
            (None, _) if state.recorded => Self::All,
            (Some(mine), Some(there)) if mine == there && state.recorded => Self::All,
            (Some(mine), Some(there)) if is_written(mine, there) => Self::Most,
            _ => Self::Nothing,
        }
    }
}

/// How a shard's record was claimed.
pub(super) enum Claiming {
    /// It is this worker's.
    Mine {
        /// Ids minted in an earlier epoch are gone, as far as the record knows.
        floor: Epoch,
        /// Whether the store had one, whole.
        known: bool,
        /// Where that was left.
        left: Option<RecordMark>,
    },
    /// A later epoch was claimed.
    Fenced(Epoch),
    /// The store does not answer.
    Away,
}

/// What the store says of a shard that nobody gives.
pub(super) enum Loaded {
    Record(Box<Left>),
    Fenced(Epoch),
    Away,
}

/// What its last owner left of a shard.
pub(super) struct Left {
    pub(super) state: ShardState,
    /// The move by which that one had it.
    pub(super) named: Option<handoff::Move>,
}

impl Storage {
    /// `memory_secs`: how long a deleted session's id could be presented.
    pub(crate) fn new(store: Arc<dyn Store>, memory_secs: u64) -> Self {
        Self {
            writer: Writer::new(store),
            memory_secs,
        }
    }

    /// Whether the store answers.
    pub(crate) fn health(&self) -> Health {
        *self.writer.health().borrow()
    }

    /// A served shard's way into the store. `claimed`: its record is as its owner has it.
    pub(super) fn ledger(&self, shard: ShardId, epoch: Epoch, claimed: bool) -> Arc<Ledger> {
        let journal = self.writer.open(shard, epoch, claimed);
        Arc::new(Ledger::new(journal, self.memory_secs))
    }

    /// Claims the record of a shard that another worker has given.
    pub(super) async fn claim(&self, shard: ShardId, epoch: Epoch) -> Claiming {
        let patience = Patience::new(SHORT);
        let claimed = self.until(&patience, || self.writer.store().claim(keep(shard, epoch)));
        match claimed.await {
            Some(Claimed::Yours { floor, known, left }) => Claiming::Mine {
                floor,
                known,
                left: left.map(mark),
            },
            Some(Claimed::Fenced(by)) => Claiming::Fenced(by),
            None => Claiming::Away,
        }
    }

    /// Claims a record, then reads it (claim before load).
    pub(super) async fn load(&self, shard: ShardId, epoch: Epoch) -> Loaded {
        let patience = Patience::new(match self.health() {
            Health::Lost => SHORT,
            Health::Up | Health::Refuses | Health::Unreplicated => PATIENCE,
        });
        let claimed = self.until(&patience, || self.writer.store().claim(keep(shard, epoch)));
        let floor = match claimed.await {
            None => return Loaded::Away,
            Some(Claimed::Fenced(by)) => return Loaded::Fenced(by),
            Some(Claimed::Yours { floor, .. }) => floor,
        };
        let arrived = || patience.renew();
        let loaded = self.until(&patience, || self.writer.store().load(shard, &arrived));
        match loaded.await {
            Some(record) => Loaded::Record(Box::new(read(shard, floor, record))),
            None => Loaded::Away,
        }
    }

    /// Asks until there is an answer, or it is too late.
    async fn until<T, F>(&self, patience: &Patience, ask: impl Fn() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        loop {
            match patience.wait(ask()).await? {
                Ok(answer) => return Some(answer),
                Err(error) => tracing::debug!(%error, "asking the store again"),
            }
            if Instant::now() + AGAIN >= patience.deadline() {
                return None;
            }
            sleep(AGAIN).await;
        }
    }
}

/// How long a store is waited for: since it was asked, or has sent something.
struct Patience {
    limit: Duration,
    begun: Instant,
    sent: Mutex<Instant>,
}

impl Patience {
    fn new(limit: Duration) -> Self {
        let now = Instant::now();
        Self {
            limit,
            begun: now,
            sent: Mutex::new(now),
        }
    }

    /// The store has sent something.
    fn renew(&self) {
        *self.sent.lock() = Instant::now();
    }

    fn deadline(&self) -> Instant {
        (*self.sent.lock() + self.limit).min(self.begun + LONGEST)
    }

    /// The answer, if it comes in time.
    async fn wait<T>(&self, asked: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(asked);
        loop {
            let deadline = self.deadline();
            if let Ok(answer) = timeout_at(deadline, &mut asked).await {
                return Some(answer);
            }
            if self.deadline() == deadline {
                return None;
            }
        }
    }
}

/// How far a record is written, for its next owner.
pub(super) fn mark(left: Mark) -> RecordMark {
    RecordMark {
        epoch: left.epoch.get(),
        number: left.number,
    }
}

fn keep(shard: ShardId, epoch: Epoch) -> Claim {
    Claim {
        shard,
        epoch,
        mode: ClaimMode::Keep,
    }
}

fn read(shard: ShardId, floor: Epoch, record: Record) -> Left {
    let mut said: HashMap<SessionKey, Vec<handoff::Said>> = HashMap::new();
    for (key, message) in record.said {
        said.entry(key)
            .or_default()
            .extend(recent(&message.message));
    }
    let sessions = record.sessions.into_iter();
    let sessions = sessions.filter_map(|(key, bytes)| {
        let state = SessionState::decode(bytes);
        let state = state.inspect_err(|error| {
            tracing::error!(%shard, %error, "a session's record is unreadable: it begins anew");
        });
        Some(with_said(
            state.ok()?,
            said.remove(&key).unwrap_or_default(),
        ))
    });
    let tails = StoredTails::decode(record.tails).unwrap_or_default();
    let tail = |session| Tail {
        session: Some(session),
        request_id: String::new(),
    };
    let state = ShardState {
        floor: floor.get(),
        dead: dead(&record.dead),
        recorded: true,
        left: None,
        expiries: record.dead.iter().map(expiry).collect(),
        sessions: sessions.collect(),
        tails: tails.sessions.into_iter().map(tail).collect(),
    };
    Left {
        state,
        named: tails.r#move,
    }
}

fn expiry(chunk: &hexagram_store::DeadChunk) -> DeadExpiry {
    DeadExpiry {
        epoch: chunk.epoch.get(),
        number: chunk.number,
        until: chunk.until,
    }
}

/// A message that may still be asked for, with its age.
fn recent(stored: &bytes::Bytes) -> Option<handoff::Said> {
    let said = handoff::Said::decode(stored.clone()).ok()?;
    let age_ms = clock::unix_millis().saturating_sub(said.said_ms);
    let is_recent = u128::from(age_ms) <= LIMITS.age.as_millis();
    is_recent.then_some(handoff::Said { age_ms, ..said })
}

fn with_said(state: SessionState, mut said: Vec<handoff::Said>) -> SessionState {
    let id = |said: &handoff::Said| EventId::parse(&said.event_id);
    said.sort_by_key(|said| (u64::MAX - said.age_ms, id(said).map(|id| id.seq)));
    let standing = said.iter().filter_map(id);
    let standing = standing.filter(|id| id.stream.kind == StreamKind::Standing);
    let last = standing.max_by_key(|id| (id.stream.epoch, id.stream.number, id.seq));
    SessionState {
        standing: last.map(|id| id.to_string()).unwrap_or_default(),
        said,
        recorded: true,
        ..state
    }
}

/// The dead whose ids could still be presented.
fn dead(chunks: &[hexagram_store::DeadChunk]) -> Vec<DeadWords> {
    let (mut dead, now) = (DeadSet::default(), clock::unix_seconds());
    for chunk in chunks.iter().filter(|chunk| chunk.until >= now) {
        dead.insert_chunk(chunk.epoch, chunk.number, chunk.words);
    }
    let words = dead.words();
    words
        .map(|(epoch, words)| DeadWords {
            epoch: epoch.get(),
            words: words.to_vec(),
        })
        .collect()
}
