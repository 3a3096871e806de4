//! Carries a client's notifications and responses to whom they concern, before
//! they are accepted: what the client sends after its 202 must not overtake
//! them (invariant I6).

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use hexagram_mcp::envelope::{Envelope, scan};
use hexagram_mcp::error::Problem;
use hexagram_mcp::splice;
use http::StatusCode;

use crate::merged::PATIENCE;
use crate::relay::upstream_of;
use crate::reply::Reply;
use crate::session::Session;
use crate::upstream::UpstreamError;

/// A client waits no longer than this for its upstreams to take a message.
const TAKEN: Duration = Duration::from_secs(1);

/// Delivers one message and accepts it once it was taken, or after [`TAKEN`]:
/// a slow upstream keeps its messages' order only as long as that.
pub(crate) async fn run(session: Arc<Session>, body: Bytes, reply: Reply) {
    let delivered = deliver(&session, body);
    tokio::pin!(delivered);
    let taken = tokio::select! {
        biased;
        () = session.deleted() => return reply.refuse(&Problem::SessionNotFound),
        taken = tokio::time::timeout(TAKEN, &mut delivered) => taken,
    };
    reply.end(StatusCode::ACCEPTED);
    if taken.is_err() {
        delivered.await;
    }
}

/// Delivers one message. A failure is only logged: it has no answer.
pub(crate) async fn deliver(session: &Session, body: Bytes) {
    session.touch();
    // The body was scanned when it was admitted.
    let Ok(envelope) = scan(&body) else {
        return;
    };
    let sent = match envelope.method.as_deref() {
        None => respond(session, &body, &envelope).await,
        Some("notifications/initialized") => Ok(()),
        Some("notifications/cancelled") => cancel(session, &body, &envelope).await,
        Some(_) => return broadcast(session, &body).await,
    };
    if let Err(error) = sent {
        tracing::debug!(%error, "a client's message did not reach its upstream");
    }
}

/// The client answers an upstream's request.
async fn respond(
    session: &Session,
    body: &Bytes,
    envelope: &Envelope<'_>,
) -> Result<(), UpstreamError> {
    let asked = envelope.id.as_ref().and_then(|id| upstream_of(id.as_str()));
    let Some((name, id)) = asked else {
        return Ok(());
    };
    // Only the session that asked can be answered. Where one upstream has taken
    // the name of another that still works, both hear it.
    for connection in session.open_connections_with(&name) {
        connection
            .send(splice::with_id(body, envelope, &id))
            .await?;
    }
    Ok(())
}

async fn cancel(
    session: &Session,
    body: &Bytes,
    envelope: &Envelope<'_>,
) -> Result<(), UpstreamError> {
    let id = envelope.request_id.as_ref();
    let Some(request) = id.and_then(|id| session.in_flight(id.as_str())) else {
        return Ok(());
    };
    let body = splice::with_request_id(body, envelope, &request.upstream_id);
    let told = request.connection.send(body).await;
    request.cancelled.cancel();
    told
}

/// Tells every upstream session of the client; one that cannot be told does
/// not keep it from the others.
async fn broadcast(session: &Session, body: &Bytes) {
    let open = session.open_connections();
    let told = open
        .iter()
        .map(|connection| tokio::time::timeout(PATIENCE, connection.send(body.clone())));
    for failed in join_all(told)
        .await
        .into_iter()
        .filter(|told| !matches!(told, Ok(Ok(()))))
    {
        tracing::debug!(?failed, "a client's notification did not reach an upstream");
    }
}
