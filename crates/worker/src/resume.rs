//! A client that lost a call's stream comes back for the rest of it.

use std::sync::Arc;

use hexagram_core::EventId;
use hexagram_mcp::error::Problem;
use http::StatusCode;

use crate::host::Call;
use crate::last_words::await_end;
use crate::replay::Said;
use crate::reply::{Reply, Run};
use crate::stream::{RETRY, Resumption, Stream};
use crate::streams::Resumed;

/// Gives what was said behind `position`, then what is still said, up to the
/// response.
///
/// Where there will be nothing it refuses: an empty stream would make the
/// official clients ask again without end, and as listeners to the session, a
/// 404 make them give up the session. After another refusal they give up the
/// call.
pub(crate) fn call(
    call: &Call,
    position: EventId,
    resumption: Resumption,
    reply: Reply,
) -> Option<Run> {
    let key = call.claims.as_ref().map(|claims| claims.key);
    let session = key.and_then(|key| call.shard.held_session(key));
    let elsewhere = key.is_some_and(|key| call.shard.may_run_elsewhere(key, position));
    let found = session
        .as_ref()
        .and_then(|s| s.streams.resume(position, resumption, elsewhere));
    let (Some(found), Some(session), Some(key)) = (found, session, key) else {
        reply.refuse(&Problem::UnknownEvent);
        return None;
    };
    let shard = Arc::clone(&call.shard);
    Some(Box::pin(async move {
        match found {
            Resumed::Running(stream) => listen(&stream, position, reply).await,
            Resumed::Elsewhere(stream) => {
                tokio::spawn(await_end(
                    Arc::clone(&session),
                    Arc::clone(&stream),
                    shard,
                    key,
                ));
                listen(&stream, position, reply).await;
            }
            Resumed::Over(said) => repeat(said, position, resumption, reply).await,
        }
        session.touch();
    }))
}

async fn listen(stream: &Stream, position: EventId, reply: Reply) {
    let flow = Arc::clone(reply.flow());
    stream.attach(reply, Some(position)).await;
    stream.listened(&flow).await;
}

/// Says once more what is left of a call that is over.
async fn repeat(said: Vec<Said>, position: EventId, resumption: Resumption, mut reply: Reply) {
    match resumption {
        Resumption::Polling => reply.start_at(position.to_string(), RETRY),
        Resumption::No | Resumption::Ids => reply.start(),
    }
    for said in said {
        let id = said.id.to_string();
        if said.last {
            return reply.finish_at(said.message, id).await;
        }
        if !reply.event_at(said.message, id).await {
            break;
        }
    }
    reply.end(StatusCode::OK);
}
