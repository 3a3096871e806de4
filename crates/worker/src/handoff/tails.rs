//! Exchanges that run on at a shard's old owner, and what the client says about
//! them to the new one: cancellations, answers, the end of the session.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hexagram_core::{Epoch, EventId, SessionKey, ShardId};
use hexagram_proto::handoff::{self, LastWords, Move, TailMessage, TailQuery};
use tonic::Status;

use super::handoffs::Handoffs;
use crate::former::key;
use crate::last_words;
use crate::one_way;
use crate::shard::Shard;

/// The old owner has heard by then, or is not waited for.
const HEARD: Duration = Duration::from_secs(1);

/// Tells a shard's old owner what a client has sent in a session that still runs
/// there. One that cannot be told within a second is not asked again.
pub(crate) async fn pass_on(shard: &Shard, session: SessionKey, body: Bytes) {
    let former = shard.former.lock().clone();
    let Some(former) = former.filter(|former| former.knows(session)) else {
        return;
    };
    match tokio::time::timeout(HEARD, former.tell(session, body)).await {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => former.ended(session),
        failed => {
            former.ended(session);
            tracing::debug!(
                reachable = failed.is_ok(),
                "a shard's old owner was not told of what still runs there"
            );
        }
    }
}

/// What a message about a tail is about.
struct Tail {
    shard: ShardId,
    session: SessionKey,
    /// In which epoch the shard was given.
    given: Epoch,
}

fn malformed() -> Status {
    Status::invalid_argument("malformed message about a tail")
}

impl Handoffs {
    /// What the new owner has heard of a client; gives whether anything of the
    /// session still runs here.
    pub(super) async fn hear_forwarded(&self, message: TailMessage) -> Result<bool, Status> {
        let tail = self.tail(&message.r#move, &message.session)?;
        self.is_giver(&message.r#move)?;
        let mut running = false;
        for shard in self.given_away(tail.shard) {
            running |= self.hear_in(&shard, tail.session, &message.body).await;
        }
        Ok(running)
    }

    /// Whether anything of a session still runs here, or where its shard was before.
    pub(super) async fn still_runs(&self, query: &TailQuery) -> Result<bool, Status> {
        let tail = self.tail(&query.r#move, &query.session)?;
        self.is_giver(&query.r#move)?;
        for shard in self.given_away(tail.shard) {
            let session = shard.held_session(tail.session);
            let is_busy = session.is_some_and(|session| session.is_busy());
            match (is_busy, last_words::still_runs(&shard, tail.session).await) {
                (true, _) | (_, Some(true)) => return Ok(true),
                (_, None) => return Err(Status::unavailable("the owner before does not answer")),
                (_, Some(false)) => {}
            }
        }
        Ok(false)
    }

    /// Keeps the last message of a call that ran on at the old owner; where the shard is
    /// another's by now, that one is to.
    pub(super) async fn hear_last_words(&self, words: LastWords) -> Result<(), Status> {
        let tail = self.tail(&words.r#move, &words.session)?;
        self.is_taker(&words.r#move)?;
        let said = words.said.ok_or_else(malformed)?;
        let id = EventId::parse(&said.event_id).filter(|id| id.seq > 0);
        let id = id.ok_or_else(malformed)?;
        let unknown = || Status::not_found("no such call ran on at the old owner");
        let served = self.host.place_of(tail.shard).shard();
        let served = served.filter(|shard| !shard.new_owner.is_there());
        if let Some(shard) = served.filter(|shard| shard.epoch >= tail.given) {
            let session = shard.held_session(tail.session).ok_or_else(unknown)?;
            let kept = session.streams.conclude(id, said.message).await;
            return kept.then_some(()).ok_or_else(unknown);
        }
        for shard in self.given_away(tail.shard) {
            if shard.epoch >= tail.given
                && last_words::hand_on(&shard, tail.session, id, said.message.clone()).await
            {
                return Ok(());
            }
        }
        Err(unknown())
    }

    fn tail(
        &self,
        named: &Option<Move>,
        session: &Option<handoff::SessionKey>,
    ) -> Result<Tail, Status> {
        let named = named.as_ref().ok_or_else(malformed)?;
        if named.cluster != self.cluster {
            return Err(self.another());
        }
        Ok(Tail {
            shard: self.host.shard_id(named.shard).ok_or_else(malformed)?,
            session: session.as_ref().and_then(key).ok_or_else(malformed)?,
            given: Epoch::new(named.epoch).ok_or_else(malformed)?,
        })
    }

    fn is_giver(&self, named: &Option<Move>) -> Result<(), Status> {
        let is_mine = |named: &Move| named.from == self.me.worker.as_str();
        let is_mine = named.as_ref().is_some_and(is_mine);
        is_mine.then_some(()).ok_or_else(|| self.another())
    }

    fn is_taker(&self, named: &Option<Move>) -> Result<(), Status> {
        let me = (self.me.worker.as_str(), self.me.incarnation.get());
        let is_mine = |named: &Move| (named.to.as_str(), named.to_incarnation) == me;
        let is_mine = named.as_ref().is_some_and(is_mine);
        is_mine.then_some(()).ok_or_else(|| self.another())
    }

    fn another(&self) -> Status {
        let (me, cluster) = (&self.me, &self.cluster);
        Status::failed_precondition(format!("this is worker {me} of cluster {cluster:?}"))
    }

    /// What was given away of a shard and still has something that runs; also what is
    /// granted and not known to be taken.
    fn given_away(&self, id: ShardId) -> Vec<Arc<Shard>> {
        let granted = self.host.place_of(id).shard();
        let granted = granted.filter(|shard| shard.new_owner.is_there());
        let tails = self.tails.read();
        let of_it = tails.iter().filter(|((shard, _), _)| *shard == id);
        let of_it = of_it.map(|(_, shard)| Arc::clone(shard));
        granted.into_iter().chain(of_it).collect()
    }

    /// Forgets what runs no more where it began: the shards that were given away, and of
    /// those that are served the sessions that ran on at their old owners.
    pub(crate) async fn forget_tails(&self) {
        let tails: Vec<_> = self.tails.read().values().cloned().collect();
        for shard in tails.into_iter().chain(self.host.shards()) {
            last_words::forget_ended(&shard).await;
        }
        self.tails.write().retain(|_, shard| shard.is_busy());
    }

    async fn hear_in(&self, shard: &Shard, key: SessionKey, body: &Bytes) -> bool {
        pass_on(shard, key, body.clone()).await;
        if body.is_empty() {
            if let (Some(session), _) = shard.delete(key) {
                session.delete();
            }
            return false;
        }
        let further_back = shard.runs_elsewhere(key);
        let Some(session) = shard.held_session(key) else {
            return further_back;
        };
        let body = session.tasks.restore(&self.host.sealer, body.clone());
        one_way::deliver(&session, body).await;
        further_back || session.is_busy()
    }
}
