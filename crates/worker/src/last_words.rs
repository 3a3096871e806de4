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

use crate::host::Call;
use crate::session::Session;
use crate::shard::Shard;
use crate::stream::Stream;

/// The new owner has it by then, or it is told without having been kept.
const HEARD: Duration = Duration::from_secs(1);
/// Between two questions whether the call still runs.
const ASK: Duration = Duration::from_secs(1);

/// Has a shard's new owner keep the last message of a call, where it was given away.
pub(crate) async fn bequeath(call: &Call, id: EventId, message: Bytes) {
    let Some(claims) = call.claims.as_ref() else {
        return;
    };
    if call.shard.new_owner.is_there() {
        pass_on(&call.shard, claims.key, id, message).await;
    }
}

/// Tells the new owner; gives whether it has heard.
pub(crate) async fn pass_on(
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
    let mut is_last = false;
    while !stream.is_over() {
        tokio::time::sleep(ASK).await;
        let has_ended = !still_runs(&shard, key).await;
        // Its last words may be on their way.
        if has_ended && std::mem::replace(&mut is_last, true) {
            break;
        }
    }
    session.streams.end_call(stream.id);
    stream.end().await;
}

/// Whether the old owner says so.
async fn still_runs(shard: &Shard, session: SessionKey) -> bool {
    let former = shard.former.lock().clone();
    match former {
        Some(former) => {
            let runs = tokio::time::timeout(HEARD, former.runs(session)).await;
            matches!(runs, Ok(Ok(true)))
        }
        None => false,
    }
}
