//! Writes what waits, as many shards at once as have something: what gathers while one
//! write is on its way is the next one. No timer delays anything.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hexagram_core::{Epoch, ShardId};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};

use crate::journal::Journal;
use crate::lane::Flight;
use crate::lanes::{Lanes, News};
use crate::record::Change;
use crate::store::{Claim, ClaimMode, Claimed, Store, StoreError, Wrote};

/// Who waits for a store that does not answer is told so by then.
const ANSWER: Duration = Duration::from_millis(1_500);
/// How often shards that have nothing to say ask whether their records are as they left
/// them: a store that was wiped is found out by then.
const CHECK: Duration = Duration::from_secs(2);
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(1);

/// Whether the store answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Up,
    /// It does, and does not take what some shards have to say: it has no memory left, or
    /// something else wrote a key of theirs.
    Refuses,
    /// It does, and too few of its replicas have what it was told: nothing new counts as
    /// stored.
    Unreplicated,
    /// It does not: nothing new can be resumed elsewhere.
    Lost,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Refuses => "refuses",
            Self::Unreplicated => "unreplicated",
            Self::Lost => "lost",
        })
    }
}

/// What a shard's owner has to do something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A later owner has claimed the shard: it is over in this epoch.
    Fenced {
        /// The shard.
        shard: ShardId,
        /// The epoch that is over.
        epoch: Epoch,
        /// The epoch that was claimed.
        by: Epoch,
    },
    /// The record is not as this owner left it: [`Writer::rewrite`] is to say all of it.
    Behind {
        /// The shard.
        shard: ShardId,
        /// Its owner's epoch.
        epoch: Epoch,
    },
}

/// Writes the changes of one worker's shards; cheap to clone.
#[derive(Clone, Debug)]
pub struct Writer {
    store: Arc<dyn Store>,
    lanes: Arc<Lanes>,
    health: watch::Sender<Health>,
}

impl Writer {
    /// A writer, and what it has to tell the shards' owner. It writes while
    /// [`run`](Self::run) runs.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            lanes: Arc::default(),
            health: watch::Sender::new(Health::Up),
        }
    }

    /// The store behind it.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Whether the store answers, and news of that.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// The way into the store of a shard in an epoch. `claimed`: its record was claimed
    /// and is as its owner has it; otherwise it is written anew once it is
    /// [served](Journal::served).
    #[must_use]
    pub fn open(&self, shard: ShardId, epoch: Epoch, claimed: bool) -> Journal {
        self.lanes.open(shard, epoch, claimed);
        Journal {
            shard,
            epoch,
            lanes: Arc::clone(&self.lanes),
        }
    }

    /// Says all of a shard after [`Event::Behind`], in pieces. What was handed in before
    /// may be a part of it.
    pub fn rewrite(&self, journal: &Journal, floor: Epoch, record: Vec<Vec<Change>>) {
        self.lanes.rewrite(journal.owner(), floor, record);
    }

    /// Asks the store now which of the shards that are written here were claimed by later
    /// owners, and in which epochs. It changes nothing.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn overtaken(&self) -> Result<Vec<(ShardId, Epoch)>, StoreError> {
        let asked = self.lanes.questions();
        let wrote = self.store.inquire(&asked).await?;
        let answers = asked.iter().zip(wrote);
        let overtaken = answers.filter_map(|(group, wrote)| match wrote {
            Ok(Wrote::Fenced(by)) => Some((group.shard, by)),
            _ => None,
        });
        Ok(overtaken.collect())
    }

    /// Writes, for as long as the process lives.
    pub async fn run(self, events: mpsc::Sender<Event>) {
        let mut checks = tokio::time::interval_at(Instant::now() + CHECK, CHECK);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut check = false;
        loop {
            self.tell(&events, self.lanes.behind()).await;
            let claimed = self.claim(&events).await;
            let checks_now = std::mem::take(&mut check);
            let flights = self.lanes.take(checks_now, Instant::now());
            if !flights.is_empty() {
                self.write(flights, &events).await;
                continue;
            }
            if checks_now {
                self.look().await;
            }
            if claimed {
                continue;
            }
            tokio::select! {
                () = self.lanes.news.notified() => {}
                () = at(self.lanes.offer_at()) => {}
                _ = checks.tick() => check = true,
            }
        }
    }

    /// Writes groups until the store has answered to each.
    async fn write(&self, mut flights: Vec<Flight>, events: &mpsc::Sender<Event>) {
        let groups: Vec<_> = flights.iter().map(|flight| flight.group.clone()).collect();
        let mut pause = FIRST_RETRY;
        let wrote = loop {
            match answered(self.store.write(&groups)).await {
                Ok(wrote) => break wrote,
                Err(error) => self.lose(&error, &mut flights),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_RETRY);
        };
        // A store answers for each group; one that it said nothing of is asked about again.
        let wrote = wrote
            .into_iter()
            .chain(std::iter::repeat(Ok(Wrote::Behind)));
        let wrote: Vec<_> = wrote.take(flights.len()).collect();
        let missing = wrote.iter().find_map(missing).cloned();
        let settled = flights.into_iter().zip(wrote);
        let news = settled.filter_map(|(flight, wrote)| self.settle(flight, wrote));
        let news: Vec<_> = news.collect();
        match missing {
            Some(error) => self.doubt(&error),
            None => self.find(),
        }
        self.tell(events, news).await;
    }

    /// What became of one group concerns no other.
    fn settle(&self, flight: Flight, wrote: Result<Wrote, StoreError>) -> Option<News> {
        let shard = flight.group.shard;
        match wrote {
            Ok(wrote) => self.lanes.settle(flight, wrote),
            Err(StoreError::Unreplicated(_)) => {
                self.lanes.unreplicated(flight);
                None
            }
            Err(error) => {
                if self.lanes.refused(flight, Instant::now()) {
                    tracing::error!(%shard, %error, "the store does not take what a shard has to say: it cannot be resumed after a crash");
                }
                None
            }
        }
    }

    /// Claims the records that are to be written anew; gives whether there were any.
    async fn claim(&self, events: &mpsc::Sender<Event>) -> bool {
        let mut any = false;
        for anew in self.lanes.to_claim(Instant::now()) {
            let claim = Claim {
                shard: anew.shard,
                epoch: anew.epoch,
                mode: ClaimMode::Rewrite { floor: anew.floor },
            };
            match answered(self.store.claim(claim)).await {
                Ok(Claimed::Yours { .. }) => {
                    self.lanes.claimed(anew);
                    any = true;
                }
                Ok(Claimed::Fenced(by)) => {
                    let news = self.lanes.fenced(anew.shard, anew.epoch, by);
                    self.tell(events, [news]).await;
                }
                Err(error @ StoreError::Unusable(_)) => {
                    if self.lanes.claim_refused(anew, Instant::now()) {
                        let shard = anew.shard;
                        tracing::error!(%shard, %error, "a shard cannot be written to the store anew");
                    }
                }
                Err(error) => {
                    self.lose(&error, &mut []);
                    tokio::time::sleep(LAST_RETRY / 4).await;
                    return true;
                }
            }
            // What its replicas have, only a group tells.
            if *self.health.borrow() != Health::Unreplicated {
                self.find();
            }
        }
        any
    }

    /// Without shards nothing is written that would tell that the store is well again: it is
    /// asked, or the next shard would find it as the last one left it.
    async fn look(&self) {
        if *self.health.borrow() == Health::Up || !self.lanes.is_empty() {
            return;
        }
        match answered(self.store.check()).await {
            Ok(()) => self.find(),
            Err(error @ StoreError::Unreplicated(_)) => self.doubt(&error),
            Err(error) => self.lose(&error, &mut []),
        }
    }

    async fn tell(&self, events: &mpsc::Sender<Event>, news: impl IntoIterator<Item = News>) {
        for news in news {
            let event = match news {
                News::Fenced(shard, epoch, by) => Event::Fenced { shard, epoch, by },
                News::Behind(shard, epoch) => Event::Behind { shard, epoch },
            };
            // Who does not listen any more owns no shards.
            let _ = events.send(event).await;
        }
    }

    fn lose(&self, error: &StoreError, flights: &mut [Flight]) {
        self.lanes.set_lost(true, flights);
        if self.health.send_replace(Health::Lost) != Health::Lost {
            tracing::error!(%error, "the store is lost: what is said from now on cannot be resumed after a crash");
        }
    }

    /// The store answers, and its replicas do not: as if it were lost, but that it is told
    /// everything as before.
    fn doubt(&self, error: &StoreError) {
        self.lanes.set_lost(true, &mut []);
        if self.health.send_replace(Health::Unreplicated) != Health::Unreplicated {
            tracing::error!(%error, "replicas of the store are missing: what is said from now on may not be resumed after a crash");
        }
    }

    /// The store answers.
    fn find(&self) {
        self.lanes.set_lost(false, &mut []);
        let health = match self.lanes.offer_at() {
            Some(_) => Health::Refuses,
            None => Health::Up,
        };
        match self.health.send_replace(health) {
            Health::Lost => tracing::info!("the store answers again"),
            Health::Unreplicated => tracing::info!("the store has its replicas again"),
            Health::Up | Health::Refuses => {}
        }
    }
}

/// Why a group that the store has does not count as stored.
fn missing(wrote: &Result<Wrote, StoreError>) -> Option<&StoreError> {
    let error = wrote.as_ref().err();
    error.filter(|error| matches!(error, StoreError::Unreplicated(_)))
}

/// Waits until then; for ever, if there is no time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

async fn answered<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let late = || StoreError::Lost(format!("no answer within {ANSWER:?}"));
    let answered = tokio::time::timeout(ANSWER, asked).await;
    answered.unwrap_or_else(|_| Err(late()))
}
