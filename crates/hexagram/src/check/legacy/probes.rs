//! What a session is probed for. The last probe ends it.

use std::time::Duration;

use hexagram_mcp::header::names::MCP_PROTOCOL_VERSION;
use reqwest::StatusCode;
use reqwest::header::{HeaderValue, ORIGIN};
use serde_json::json;

use crate::check::client::Ask;
use crate::check::foreign::{MALFORMED, NO_VERSION, ORIGIN_2025_11_25, ORIGIN_BEFORE, STRANGER};
use crate::check::lists::Speaker;
use crate::check::notes::{Notes, Rule};
use crate::check::reply::{Outcome, Reply, told};
use crate::check::session::{Session, knows_version_header};

/// A standing stream is heard for so long, for ids of its events.
const HEARING: Duration = Duration::from_millis(500);

const SESSION_ID: Rule = Rule {
    feature: "session_id",
    sent: "initialize",
    wanted: "an Mcp-Session-Id of visible ASCII characters only",
};
const INITIALIZED: Rule = Rule {
    feature: "notifications_accepted",
    sent: "notifications/initialized",
    wanted: "HTTP 202 without a body",
};
const PING: Rule = Rule {
    feature: "ping",
    sent: "ping",
    wanted: "an empty result",
};
const VERSION: Rule = Rule {
    feature: "unknown_version_refused",
    sent: "ping with MCP-Protocol-Version: 1900-01-01",
    wanted: "HTTP 400",
};
const GET: Rule = Rule {
    feature: "get_stream",
    sent: "GET with Accept: text/event-stream",
    wanted: "an event stream, or HTTP 405 where none is offered",
};
const ENDED: Rule = Rule {
    feature: "ended_session_refused",
    sent: "ping with the session id, after its DELETE",
    wanted: "HTTP 404, so that the client initializes again",
};

/// The session id, and the end of the handshake.
pub(super) async fn handshake(session: &Session<'_>, notes: &mut Notes) {
    match session.id() {
        Some(id) if is_visible(id) => notes.feature(SESSION_ID.feature, Some(true), "issued"),
        Some(_) => {
            notes.feature(
                SESSION_ID.feature,
                Some(true),
                "issued, but not visible ASCII",
            );
            notes.broken(&SESSION_ID, "other characters in it");
        }
        None => notes.feature(SESSION_ID.feature, Some(false), "none issued: stateless"),
    }
    let outcome = session.initialized().await;
    notes.must(&INITIALIZED, &outcome, |reply| {
        reply.status == StatusCode::ACCEPTED
    });
}

fn is_visible(id: &HeaderValue) -> bool {
    let bytes = id.as_bytes();
    !bytes.is_empty() && bytes.iter().all(u8::is_ascii_graphic)
}

/// All the rest; ends the session.
pub(super) async fn session(session: &mut Session<'_>, notes: &mut Notes) {
    let pong = session.ask("ping", json!({})).await;
    notes.must(&PING, &pong, |reply| reply.result().is_some());
    refusals(session, notes).await;
    stream(session, notes).await;
    let has_ids = session.has_event_ids;
    let note = match has_ids {
        true => "seen: streams can be resumed",
        false => "none seen",
    };
    notes.feature("event_ids", Some(has_ids), note);
    end(session, notes).await;
}

/// Requests that a server is to refuse.
async fn refusals(session: &Session<'_>, notes: &mut Notes) {
    if knows_version_header(&session.negotiated) {
        let outcome = session.ping_with(MCP_PROTOCOL_VERSION, NO_VERSION).await;
        notes.must(&VERSION, &outcome, |reply| {
            reply.status == StatusCode::BAD_REQUEST
        });
    }
    let outcome = session.ping_with(ORIGIN, STRANGER).await;
    match session.negotiated.as_str() {
        "2025-11-25" => notes.must(&ORIGIN_2025_11_25, &outcome, |reply| {
            reply.status == StatusCode::FORBIDDEN
        }),
        _ => notes.must(&ORIGIN_BEFORE, &outcome, Reply::is_refusal),
    }
    let outcome = session.tell(Ask::post(MALFORMED.text)).await;
    notes.must(&MALFORMED.rule, &outcome, Reply::is_refusal);
}

/// The standing stream; its events may have ids.
async fn stream(session: &mut Session<'_>, notes: &mut Notes) {
    let opened = session
        .client
        .open(Ask::get().headers(&session.headers))
        .await;
    let mut incoming = match opened {
        Ok(incoming) if incoming.is_stream() && incoming.status.is_success() => incoming,
        Ok(incoming) => {
            let outcome = Reply::read(incoming, session.client.new_id()).await;
            return no_stream(&outcome, notes);
        }
        Err(failure) => return no_stream(&Err(failure), notes),
    };
    notes.feature(GET.feature, Some(true), "offered");
    incoming.hurry(HEARING);
    // Silence and a broken stream say the same: no id was seen.
    if let Ok(Some(event)) = incoming.next().await {
        session.has_event_ids |= event.id.is_some();
    }
}

fn no_stream(outcome: &Outcome, notes: &mut Notes) {
    let seen = outcome.is_ok().then_some(false);
    notes.feature(GET.feature, seen, told(outcome));
    if let Ok(reply) = outcome
        && reply.status != StatusCode::METHOD_NOT_ALLOWED
    {
        notes.broken(&GET, reply.to_string());
    }
}

/// Ends the session and tries to go on with it.
async fn end(session: &mut Session<'_>, notes: &mut Notes) {
    let Some(deleted) = session.end().await else {
        return;
    };
    let is_ended = deleted
        .as_ref()
        .is_ok_and(|reply| reply.status.is_success());
    notes.optional("delete", &deleted, |reply| reply.status.is_success());
    if is_ended {
        let outcome = session.ask("ping", json!({})).await;
        notes.must(&ENDED, &outcome, |reply| {
            reply.status == StatusCode::NOT_FOUND
        });
    }
}
