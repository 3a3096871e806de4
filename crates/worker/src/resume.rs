//! A client that lost a call's stream comes back for the rest of it.

use std::sync::Arc;

use hexagram_core::EventId;
use hexagram_mcp::error::Problem;
use http::StatusCode;

use crate::replay::Said;
use crate::reply::{Reply, Run};
use crate::session::Session;
use crate::stream::{RETRY, Resumption};
use crate::streams::Resumed;

/// Gives what was said behind `position`, then what is still said, up to the
/// response.
///
/// Where there will be nothing it refuses: an empty stream would make the
/// official clients ask again without end, and as listeners to the session, a
/// 404 make them give up the session. After another refusal they give up the
/// call.
pub(crate) fn call(
    session: Option<Arc<Session>>,
    position: EventId,
    resumption: Resumption,
    reply: Reply,
) -> Option<Run> {
    let found = session.as_ref().and_then(|s| s.streams.resume(position));
    let Some(found) = found else {
        reply.refuse(&Problem::UnknownEvent);
        return None;
    };
    Some(Box::pin(async move {
        match found {
            Resumed::Running(stream) => {
                let flow = Arc::clone(reply.flow());
                stream.attach(reply, Some(position)).await;
                stream.listened(&flow).await;
            }
            Resumed::Over(said) => repeat(said, position, resumption, reply).await,
        }
        if let Some(session) = session {
            session.touch();
        }
    }))
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
