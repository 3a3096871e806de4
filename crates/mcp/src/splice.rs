//! Rewriting a message without parsing it again: a new body with a few spans
//! replaced and every other byte as it was.
//!
//! Ids and tokens are JSON text, as [`RawId::as_str`](crate::RawId::as_str) gives
//! it: a string comes in its quotes. `body` must be the one that the envelope was
//! scanned from. A member that the message does not hold is not added: the body
//! comes back as it was.

use std::ops::Range;

use bytes::Bytes;

use crate::envelope::{Envelope, RawId};

/// The message under another top-level id.
#[must_use]
pub fn with_id(body: &[u8], env: &Envelope<'_>, new_id: &str) -> Bytes {
    splice(body, [edit(env.id, new_id), None])
}

/// The request under another id and, when given one, another `params._meta.progressToken`.
#[must_use]
pub fn with_id_and_progress_token(
    body: &[u8],
    env: &Envelope<'_>,
    new_id: &str,
    new_token: Option<&str>,
) -> Bytes {
    let token = new_token.and_then(|token| edit(env.meta.progress_token, token));
    splice(body, [edit(env.id, new_id), token])
}

/// A notifications/progress with another `params.progressToken`.
#[must_use]
pub fn with_progress_token(body: &[u8], env: &Envelope<'_>, token: &str) -> Bytes {
    splice(body, [edit(env.progress_token, token), None])
}

/// A notifications/cancelled with another `params.requestId`.
#[must_use]
pub fn with_request_id(body: &[u8], env: &Envelope<'_>, id: &str) -> Bytes {
    splice(body, [edit(env.request_id, id), None])
}

/// The message aimed at another name or URI: whichever [`Envelope::name`] was
/// read from. `new_name` is plain text.
#[must_use]
pub fn with_name(body: &[u8], env: &Envelope<'_>, new_name: &str) -> Bytes {
    let quoted = serde_json::Value::from(new_name).to_string();
    splice(
        body,
        [
            env.name_span.clone().map(|span| (span, quoted.as_str())),
            None,
        ],
    )
}

/// The request with another `params.requestState`. `new_state` is plain text.
#[must_use]
pub fn with_request_state(body: &[u8], env: &Envelope<'_>, new_state: &str) -> Bytes {
    let quoted = serde_json::Value::from(new_state).to_string();
    let span = env.state_span.clone();
    splice(body, [span.map(|span| (span, quoted.as_str())), None])
}

type Edit<'a> = (Range<usize>, &'a str);

fn edit<'a>(old: Option<RawId<'_>>, new: &'a str) -> Option<Edit<'a>> {
    old.map(|id| (id.span(), new))
}

/// The spans never overlap: each is another member's value.
fn splice(body: &[u8], edits: [Option<Edit<'_>>; 2]) -> Bytes {
    let mut edits = edits;
    edits.sort_unstable_by_key(|edit| edit.as_ref().map(|(span, _)| span.start));
    let edits = || edits.iter().flatten();
    let removed: usize = edits().map(|(span, _)| span.len()).sum();
    let added: usize = edits().map(|(_, new)| new.len()).sum();
    let mut out = Vec::with_capacity(body.len() - removed + added);
    let mut done = 0;
    for (span, new) in edits() {
        out.extend_from_slice(&body[done..span.start]);
        out.extend_from_slice(new.as_bytes());
        done = span.end;
    }
    out.extend_from_slice(&body[done..]);
    out.into()
}
