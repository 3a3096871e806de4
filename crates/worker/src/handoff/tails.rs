//! Exchanges that run on at a shard's old owner, and what the client says about
//! them to the new one: cancellations, answers, the end of the session.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hexagram_core::{Epoch, Serial, SessionKey};
use hexagram_proto::WorkerAddress;
use hexagram_proto::handoff::handoff_client::HandoffClient;
use hexagram_proto::handoff::{self, Move, ShardState, TailMessage};
use tonic::Status;
use tonic::transport::Channel;

use super::Handoffs;
use crate::one_way;
use crate::shard::Shard;

/// The old owner has heard by then, or is not waited for.
const HEARD: Duration = Duration::from_secs(1);

/// The worker that granted a shard, and the sessions that still run there.
pub(crate) struct Former {
    named: Move,
    address: WorkerAddress,
    sessions: HashSet<SessionKey>,
    channel: Option<HandoffClient<Channel>>,
}

impl Former {
    /// `None` where nothing runs on.
    pub(super) fn of(
        state: &ShardState,
        named: Move,
        address: Option<WorkerAddress>,
    ) -> Option<Self> {
        let keys = state
            .tails
            .iter()
            .filter_map(|tail| key(tail.session.as_ref()?));
        let sessions: HashSet<_> = keys.collect();
        Some(Self {
            named,
            address: address?,
            sessions,
            channel: None,
        })
        .filter(|former| !former.sessions.is_empty())
    }

    /// Whether something of this session may still run there.
    pub(crate) fn knows(&self, session: SessionKey) -> bool {
        self.sessions.contains(&session)
    }

    /// Tells the old owner what a client has sent; empty: the session is over.
    async fn tell(mut self, session: SessionKey, body: Bytes) -> Result<(Self, bool), Status> {
        let mut channel = match self.channel.take() {
            Some(channel) => channel,
            None => {
                let dialled = self.address.dial().await;
                HandoffClient::new(dialled.map_err(|error| Status::unavailable(error.to_string()))?)
            }
        };
        let message = TailMessage {
            r#move: Some(self.named.clone()),
            session: Some(key_message(session)),
            body,
        };
        let running = channel.forward(message).await?.into_inner().running;
        self.channel = Some(channel);
        Ok((self, running))
    }
}

/// A session's key as messages carry it.
pub(super) fn key_message(key: SessionKey) -> handoff::SessionKey {
    handoff::SessionKey {
        epoch: key.epoch.get(),
        serial: key.serial.get(),
    }
}

/// The key that a message carries.
pub(super) fn key(message: &handoff::SessionKey) -> Option<SessionKey> {
    Some(SessionKey {
        epoch: Epoch::new(message.epoch)?,
        serial: Serial::new(message.serial),
    })
}

/// Tells a shard's old owner what a client has sent in a session that still runs
/// there. One that cannot be told within a second is not asked again.
pub(crate) async fn pass_on(shard: &Shard, session: SessionKey, body: Bytes) {
    let Some(former) = shard.former.lock().take_if(|former| former.knows(session)) else {
        return;
    };
    match tokio::time::timeout(HEARD, former.tell(session, body)).await {
        Ok(Ok((mut former, running))) => {
            if !running {
                former.sessions.remove(&session);
            }
            *shard.former.lock() = Some(former);
        }
        failed => tracing::debug!(
            reachable = failed.is_ok(),
            "a shard's old owner was not told of what still runs there"
        ),
    }
}

impl Handoffs {
    /// Remembers a shard that was given away as long as something runs in it.
    pub(super) fn keep_tails(&self, shard: &Arc<Shard>) {
        let key = (shard.id, shard.epoch);
        self.tails.write().insert(key, Arc::clone(shard));
    }

    /// Forgets the shards in which nothing runs any more.
    pub(crate) fn forget_tails(&self) {
        self.tails.write().retain(|_, shard| shard.is_busy());
    }

    /// What the new owner has heard of a client; gives whether anything of the
    /// session still runs here.
    pub(super) async fn hear_forwarded(&self, message: TailMessage) -> Result<bool, Status> {
        let malformed = || Status::invalid_argument("malformed message about a tail");
        let session = message
            .session
            .as_ref()
            .and_then(key)
            .ok_or_else(malformed)?;
        let named = message.r#move.as_ref().ok_or_else(malformed)?;
        if named.cluster != self.cluster || named.from != self.me.worker.as_str() {
            return Err(Status::failed_precondition(format!(
                "this is worker {} of cluster {:?}",
                self.me, self.cluster
            )));
        }
        let id = self.host.shard_id(named.shard).ok_or_else(malformed)?;
        let shards: Vec<_> = {
            let tails = self.tails.read();
            let of_it = tails.iter().filter(|((shard, _), _)| *shard == id);
            of_it.map(|(_, shard)| Arc::clone(shard)).collect()
        };
        let mut running = false;
        for shard in shards {
            running |= self.hear_in(&shard, session, &message.body).await;
        }
        Ok(running)
    }

    async fn hear_in(&self, shard: &Shard, key: SessionKey, body: &Bytes) -> bool {
        if body.is_empty() {
            if let Some(session) = shard.delete(key) {
                session.delete();
            }
            return false;
        }
        let Some(session) = shard.held_session(key) else {
            return false;
        };
        let body = session.tasks.restore(&self.host.sealer, body.clone());
        one_way::deliver(&session, body).await;
        session.is_busy()
    }
}
