//! Where a client's request goes once it is admitted: to an upstream, to all of
//! them, or to a subscription.

use std::sync::Arc;

use bytes::Bytes;
use hexagram_core::{Era, Purpose};
use hexagram_mcp::envelope::scan;
use hexagram_mcp::error::Problem;
use parking_lot::Mutex;

use crate::federation::{Destination, Federation};
use crate::forward::Forward;
use crate::handles::{self, Opened};
use crate::host::{Call, Host};
use crate::listen;
use crate::reply::Reply;
use crate::session::{InFlight, Session};

/// Answers one request from the upstreams.
pub(crate) async fn request(host: Arc<Host>, call: Call, reply: Reply) {
    let flow = Arc::clone(reply.flow());
    let Some(session) = host.session(&call) else {
        return reply.refuse(&Problem::SessionNotFound);
    };
    let under_way = Mutex::new(None);
    let work = route(&host, &call, &session, &under_way, reply);
    if call.era() == Era::Legacy {
        // A disconnect is no cancellation there; the end of the session is.
        tokio::pin!(work);
        tokio::select! {
            biased;
            () = session.deleted() => flow.revoke(),
            () = call.shard.deposed.cancelled() => flow.depose(),
            () = &mut work => {}
        }
        return session.touch();
    }
    tokio::pin!(work);
    tokio::select! {
        () = &mut work => {}
        () = call.shard.deposed.cancelled() => flow.depose(),
        () = flow.left() => {
            let request = under_way.lock().take();
            cancelled(request).await;
        }
    }
    session.touch();
    if session.is_passing() {
        session.close().await;
    }
}

/// A modern client that left has cancelled; its upstream is told.
async fn cancelled(under_way: Option<InFlight>) {
    let Some(request) = under_way else {
        return;
    };
    let id = request.upstream_id;
    let params = format!(r#"{{"requestId":{id},"reason":"the client left"}}"#);
    let body =
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{params}}}"#);
    if let Err(error) = request.connection.send(Bytes::from(body)).await {
        tracing::debug!(%error, "an upstream was not told of a cancellation");
    }
}

async fn route(
    host: &Arc<Host>,
    call: &Call,
    session: &Arc<Session>,
    under_way: &Mutex<Option<InFlight>>,
    reply: Reply,
) {
    let federation = host.federation();
    let opened = match open_handle(host, &federation, call) {
        Ok(opened) => opened,
        Err(problem) => return reply.refuse(&problem),
    };
    if let Some((_, known)) = &opened
        && known.purpose == Purpose::Task
    {
        session
            .tasks
            .learn(&known.upstream, &known.inner, &known.token);
    }
    let (body, opened) = match opened {
        Some((body, opened)) => (body, Some(opened)),
        None => (call.body.clone(), None),
    };
    let Ok(envelope) = scan(&body) else {
        return reply.refuse(&Problem::Internal);
    };
    let method = envelope.method.as_deref().unwrap_or_default();
    let forward = Forward {
        host,
        federation,
        call,
        session,
        under_way,
        body: &body,
        opened: opened.as_ref(),
        envelope: &envelope,
        method,
    };
    if let Err(problem) = forward.check_repeated().await {
        return reply.refuse(&problem);
    }
    if method == "subscriptions/listen" && call.era() == Era::Modern {
        return listen::run(&forward, reply).await;
    }
    if let Err(problem) = forward.remember().await {
        return reply.refuse(&problem);
    }
    match forward.destination() {
        Ok(Destination::One(index, name)) => forward.one(index, name.as_deref(), reply).await,
        Ok(Destination::Merge(member)) => forward.merged(member, reply).await,
        Ok(Destination::Everywhere) => forward.everywhere(reply).await,
        Err(problem) => reply.refuse(&problem),
    }
}

/// The request in its upstream's own words, where it holds a handle.
fn open_handle(
    host: &Host,
    federation: &Federation,
    call: &Call,
) -> Result<Option<(Bytes, Opened)>, Problem> {
    if !federation.names_tasks(call.era()) {
        return Ok(None);
    }
    // The body was scanned when it was admitted.
    let envelope = scan(&call.body).map_err(|_| Problem::Internal)?;
    let opened = handles::open(host, call, &envelope)?;
    Ok(opened.map(|opened| {
        let body = handles::restore(&call.body, &envelope, &opened);
        (body, opened)
    }))
}
