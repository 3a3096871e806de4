//! The last message of a call that ran on where its shard was before. A client that has
//! lost its connection meanwhile comes back to the shard's new owner, which keeps it.
//!
//! ```text
//! old owner: outlet -> bequeath -> (gRPC) -> new owner: keep -> transcript, store
//!                                                       await_end -> a client that waits
//! ```

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hexagram_core::{EventId, SessionKey};
use tonic::Code;

use crate::host::Call;
use crate::session::Session;
use crate::shard::Shard;
use crate::stream::Stream;

/// The new owner has it by then, or it is told without having been kept.
const HEARD: Duration = Duration::from_secs(1);
/// Between two questions whether the call still runs.
const ASK: Duration = Duration::from_secs(1);
/// So many times in a row nothing runs, or nobody answers, until the end is not waited for.
const NOES: usize = 3;

/// Has a shard's new owner keep the last message of a call, where it was given away.
pub(crate) async fn bequeath(call: &Call, id: EventId, message: Bytes) {
    let Some(claims) = call.claims.as_ref() else {
        return;
    };
    if call.shard.new_owner.is_there() {
        hand_on(&call.shard, claims.key, id, message).await;
    }
}

/// Tells the new owner; gives whether it has heard.
pub(crate) async fn hand_on(
    shard: &Shard,
    session: SessionKey,
    id: EventId,
    message: Bytes,
) -> bool {
    let told = tokio::time::timeout(HEARD, shard.new_owner.hear(session, id, message)).await;
    let failed = match told {
        Ok(Ok(())) => return true,
        Ok(Err(status)) => status.message().to_owned(),
        Err(_) => format!("no answer within {HEARD:?}"),
    };
    tracing::warn!(
        shard = shard.id.get(),
        error = failed,
        "a call ended where its shard was before; a client that lost its connection will not find its end"
    );
    false
}

/// Waits until a call that runs at the old owner has told its end here, or is known to
/// tell none; then the stream is over.
pub(crate) async fn await_end(
    session: Arc<Session>,
    stream: Arc<Stream>,
    shard: Arc<Shard>,
    key: SessionKey,
) {
    // The last words may be on their way when the call is over.
    let mut noes = 0;
    while !stream.is_over() && noes < NOES {
        tokio::time::sleep(ASK).await;
        let runs = still_runs(&shard, key).await;
        noes = if runs == Some(true) { 0 } else { noes + 1 };
        if noes == NOES && runs == Some(false) {
            forget(&shard, key);
        }
    }
    session.streams.end_call(stream.id);
    stream.end().await;
}

/// Whether anything of the session still runs where the shard was before; `None` where that
/// does not answer.
pub(crate) async fn still_runs(shard: &Shard, session: SessionKey) -> Option<bool> {
    let former = shard.former.lock().clone();
    let Some(former) = former.filter(|former| former.knows(session)) else {
        return Some(false);
    };
    let runs = tokio::time::timeout(HEARD, former.runs(session)).await;
    runs.ok()?.ok()
}

fn forget(shard: &Shard, session: SessionKey) {
    if let Some(former) = &*shard.former.lock() {
        former.ended(session);
    }
}

/// Forgets the sessions of which nothing runs any more where the shard was before, and all
/// of them where that has not answered some times in a row.
pub(crate) async fn forget_ended(shard: &Shard) {
    let former = shard.former.lock().clone();
    let Some(former) = former else { return };
    for session in former.sessions() {
        match tokio::time::timeout(HEARD, former.runs(session)).await {
            Ok(Ok(true)) => former.answered(),
            Ok(Ok(false)) => {
                former.answered();
                former.ended(session);
            }
            // One of the release before: it cannot be asked.
            Ok(Err(status)) if status.code() == Code::Unimplemented => return,
            _ => return former.stays_silent(),
        }
    }
}
