//! What workers tell of the map (DESIGN section 6): to an edge that starts while the register
//! is out of reach, until that answers; and to a worker that is about to write the register.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hexagram_core::{RegisterMap, ShardCount};
use hexagram_proto::admin::MapRequest;
use hexagram_proto::{Dial, Malformed, explained, known_map};
use hexagram_runtime::random::{bytes, jittered};
use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::Code;

use crate::register::{MapSender, Maps, fed};
use crate::visit::{Unheard, reach};

#[cfg(test)]
mod tests;

/// A register that has answered by then is all that is needed.
const PATIENCE: Duration = Duration::from_secs(2);
/// For the answers of all workers, and before that for each name to be looked up.
const ANSWER: Duration = Duration::from_secs(1);
/// Between two rounds of questions.
const PAUSE: Duration = Duration::from_secs(2);
/// Workers that an edge asks in a round: many edges may start at once.
const MOST: usize = 16;

/// Where the map comes from that an edge goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GoesBy {
    /// There is none yet.
    #[default]
    Nothing,
    /// Workers told it; the register has not answered yet.
    Workers,
    /// The register's, with later epochs that workers told.
    Both,
    /// The register's alone.
    Register,
}

impl fmt::Display for GoesBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "waiting for the shard map",
            Self::Workers => "workers told it: the register does not answer",
            Self::Both => "the register's, with later epochs that workers told",
            Self::Register => "the register's",
        })
    }
}

/// Why a worker told no map.
#[derive(Debug, thiserror::Error)]
enum Untold {
    #[error("no worker answers within {ANSWER:?}")]
    Late,
    #[error(transparent)]
    Unheard(#[from] Unheard),
    #[error("it is of a release that tells no map")]
    Older,
    #[error("it does not tell its map: {}", .0.message())]
    Refused(Box<tonic::Status>),
    #[error("its map is unusable: {0}")]
    Malformed(#[from] Malformed),
    #[error("it has heard of no map")]
    Ignorant,
}

/// The workers that may tell the map.
#[derive(Clone)]
pub struct Tellers {
    /// Where they are, as HOST:PORT; a name may be that of several. Nobody is asked
    /// without any.
    pub places: Vec<String>,
    /// How they are reached.
    pub dial: Dial,
    /// The cluster's name; workers of another tell nothing.
    pub cluster: String,
    /// Its number of shards.
    pub shards: ShardCount,
}

/// Who listens.
struct Told {
    maps: Arc<MapSender>,
    by: watch::Sender<GoesBy>,
}

impl Tellers {
    /// The register's maps; while it has told none for two seconds, what workers tell. No
    /// epoch goes back when the register answers at last, and what it says counts in
    /// everything else. With it, where each map is from.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as [`tokio::spawn`].
    #[must_use]
    pub fn stand_in(self, mut register: Maps) -> (Maps, watch::Receiver<GoesBy>) {
        let by = watch::Sender::default();
        let goes_by = by.subscribe();
        let maps = fed(|maps| async move {
            let to = Told { maps, by };
            let told = self.until_it_answers(&mut register, &to).await;
            follow(register, told, &to).await;
        });
        (maps, goes_by)
    }

    /// What each of these workers knows that answers in time. All are asked at once: it takes a
    /// second at most, and before that one for each name that nobody looks up.
    pub async fn known(&self) -> Vec<RegisterMap> {
        let (workers, vain) = self.look_up().await;
        let (maps, vain) = self.answers(workers, vain).await;
        if !vain.is_empty() {
            tracing::debug!(why = ?vain, "not all workers tell the shard map");
        }
        maps
    }

    /// Tells what workers know until the register says anything; gives what was told.
    async fn until_it_answers(&self, register: &mut Maps, to: &Told) -> Option<RegisterMap> {
        let mut told = None;
        let answered = async { register.wait_for(Option::is_some).await.is_ok() };
        tokio::select! {
            true = answered => {}
            () = self.keep_asking(&mut told, to) => {}
        }
        told
    }

    async fn keep_asking(&self, told: &mut Option<RegisterMap>, to: &Told) {
        if self.places.is_empty() {
            return std::future::pending().await;
        }
        sleep(PATIENCE).await;
        let mut complaints = Vec::new();
        loop {
            let (answers, vain) = self.ask().await;
            if let Some(map) = newest(told.take().into_iter().chain(answers)) {
                to.tell(&Arc::new(map.clone()), GoesBy::Workers);
                *told = Some(map);
            } else if vain != complaints {
                tracing::warn!(why = ?vain, "the register does not answer, and no worker tells the shard map");
                complaints = vain;
            }
            sleep(jittered(PAUSE)).await;
        }
    }

    /// What some of the workers know, and why others told nothing.
    async fn ask(&self) -> (Vec<RegisterMap>, Vec<String>) {
        let (workers, vain) = self.look_up().await;
        self.answers(some(workers), vain).await
    }

    /// What these workers know that answer in time; why others told nothing joins `vain`.
    async fn answers(
        &self,
        workers: impl IntoIterator<Item = SocketAddr>,
        mut vain: Vec<String>,
    ) -> (Vec<RegisterMap>, Vec<String>) {
        let mut asked = JoinSet::new();
        for worker in workers {
            let this = self.clone();
            asked.spawn(async move { (worker, this.known_by(worker).await) });
        }
        let mut maps = Vec::new();
        while let Some(asked) = asked.join_next().await {
            let Ok((worker, answer)) = asked else {
                continue;
            };
            match answer {
                Ok(map) => maps.push(map),
                Err(error) => vain.push(format!("{worker}: {error}")),
            }
        }
        vain.sort_unstable();
        (maps, vain)
    }

    async fn look_up(&self) -> (BTreeSet<SocketAddr>, Vec<String>) {
        let (mut workers, mut vain) = (BTreeSet::new(), Vec::new());
        for place in &self.places {
            match timeout(ANSWER, lookup_host(place)).await {
                Ok(Ok(found)) => workers.extend(found),
                Ok(Err(error)) => vain.push(format!("{place}: {error}")),
                Err(_) => vain.push(format!("{place}: not looked up within {ANSWER:?}")),
            }
        }
        (workers, vain)
    }

    async fn known_by(&self, worker: SocketAddr) -> Result<RegisterMap, Untold> {
        let answer = timeout(ANSWER, self.ask_one(worker)).await;
        answer.unwrap_or(Err(Untold::Late))
    }

    async fn ask_one(&self, worker: SocketAddr) -> Result<RegisterMap, Untold> {
        let mut admin = reach(&(self.dial)(&worker.to_string())).await?;
        let request = MapRequest {
            cluster: self.cluster.clone(),
            shards: u32::from(self.shards.get()),
        };
        let answer = admin.map(request).await.map_err(refused)?;
        known_map(answer.get_ref(), self.shards)?.ok_or(Untold::Ignorant)
    }
}

/// Others each time, where there are many: those of one round may all be gone.
fn some(workers: BTreeSet<SocketAddr>) -> Vec<SocketAddr> {
    let mut workers = Vec::from_iter(workers);
    let first = usize::from(u16::from_be_bytes(bytes())) % workers.len().max(1);
    workers.rotate_left(first);
    workers.truncate(MOST);
    workers
}

fn refused(status: tonic::Status) -> Untold {
    match status.code() {
        Code::Unimplemented => Untold::Older,
        _ => Untold::Refused(Box::new(explained(status))),
    }
}

impl Told {
    fn tell(&self, map: &Arc<RegisterMap>, by: GoesBy) {
        // First: whoever has a map knows where it is from.
        let before = self.by.send_replace(by);
        if before != by {
            let version = map.version();
            tracing::info!(version, %before, now = %by, "going by another shard map");
        }
        self.maps.send_if_modified(|known| {
            let is_news = known.as_ref() != Some(map);
            if is_news {
                *known = Some(Arc::clone(map));
            }
            is_news
        });
    }
}

/// Tells what the register says, for as long as it says anything.
async fn follow(mut register: Maps, mut told: Option<RegisterMap>, to: &Told) {
    loop {
        let map = register.borrow_and_update().clone();
        if let Some(map) = map {
            let (map, by) = over(&map, &mut told);
            to.tell(&map, by);
        }
        if register.changed().await.is_err() {
            return;
        }
    }
}

/// What several processes know together: the map of the highest version, but for shards of
/// which another knows a later epoch (invariant I4). A register that was lost and made anew
/// may have begun at a low version.
fn newest(maps: impl IntoIterator<Item = RegisterMap>) -> Option<RegisterMap> {
    let mut maps: Vec<_> = maps.into_iter().collect();
    maps.sort_by_key(|map| Reverse(map.version()));
    let maps = maps.into_iter();
    maps.reduce(|newest, map| newest.with_later(&map))
}

/// What to go by when the register says `register` after workers have `told` something. It
/// counts, but for epochs that it does not know yet; once it knows all, what was told is
/// forgotten.
fn over(register: &Arc<RegisterMap>, told: &mut Option<RegisterMap>) -> (Arc<RegisterMap>, GoesBy) {
    let merged = told.as_ref().map(|told| register.with_later(told));
    match merged.filter(|merged| *merged != **register) {
        Some(merged) => (Arc::new(merged), GoesBy::Both),
        None => {
            *told = None;
            (Arc::clone(register), GoesBy::Register)
        }
    }
}
