//! Exchanges that run on at a shard's old owner, and what the client says about
//! them to the new one: cancellations, answers, the end of the session.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hexagram_core::SessionKey;
use hexagram_proto::handoff::TailMessage;
use tonic::Status;

use super::handoffs::Handoffs;
use crate::former::key;
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

impl Handoffs {
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
