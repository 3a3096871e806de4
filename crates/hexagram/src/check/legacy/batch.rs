//! JSON-RPC batches: only 2025-03-26 has them, and there a server must take them.

use hexagram_core::ProtocolVersion;
use hexagram_mcp::envelope::{batch, is_batch};
use serde_json::{Value, json};

use crate::check::client::Ask;
use crate::check::failure::Failure;
use crate::check::incoming::Incoming;
use crate::check::notes::{Notes, Rule};
use crate::check::reply::{Message, quoted, response};
use crate::check::session::{Session, request};

const BATCH: Rule = Rule {
    feature: "batching",
    sent: "a batch of two pings",
    wanted: "a result for each: receiving batches is a MUST of 2025-03-26",
};

/// Sends a batch and looks for both answers.
pub(super) async fn probe(session: &Session<'_>, notes: &mut Notes) {
    let ids = [session.client.new_id(), session.client.new_id()];
    let pings = ids.map(|id| request(id, "ping", &json!({})));
    let ask = Ask::post(&Value::from(pings.to_vec())).headers(&session.headers);
    let answered = match session.client.open(ask).await {
        Ok(incoming) => answers(incoming, ids).await,
        Err(failure) => Err(failure),
    };
    let (seen, note) = match answered {
        Ok((2, note)) => (Some(true), note),
        Ok((_, note)) => {
            notes.broken(&BATCH, note.as_str());
            (Some(false), note)
        }
        Err(failure) => (None, failure.to_string()),
    };
    // It stands among the features of a newer revision.
    let revision = ProtocolVersion::V2025_03_26;
    notes.feature(BATCH.feature, seen, format!("in {revision}: {note}"));
}

/// How many of the requests got a result, and that in words.
async fn answers(mut incoming: Incoming, ids: [u64; 2]) -> Result<(usize, String), Failure> {
    let status = incoming.status.as_u16();
    let (mut results, mut error) = (0, String::new());
    while results < ids.len()
        && let Some(event) = incoming.next().await?
    {
        for message in messages(&event.data) {
            match ids.iter().find_map(|id| response(message, *id)) {
                Some(Message::Result(_)) => results += 1,
                Some(Message::Error(said)) => {
                    error = format!(", {} {}", said.code, quoted(&said.message));
                }
                None => {}
            }
        }
    }
    Ok((
        results,
        format!("HTTP {status}, {results} of 2 answered{error}"),
    ))
}

/// The messages of a body: one, or those of a batch.
fn messages(body: &[u8]) -> Vec<&[u8]> {
    match is_batch(body) {
        true => batch(body).unwrap_or_default(),
        false => vec![body],
    }
}
