//! Upstreams' task ids and request states on their way back: opened toward the
//! upstream (DESIGN 4). Sealed toward the client are states here, task ids in
//! `task_names`.

use bytes::Bytes;
use hexagram_core::{Binding, Era, Handle, Purpose};
use hexagram_mcp::envelope::Envelope;
use hexagram_mcp::error::Problem;
use hexagram_mcp::{handle, splice};

use crate::host::{Call, Host};
use crate::raw::RawObject;

/// A request's handle as its upstream knows it.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The upstream that made it.
    pub(crate) upstream: String,
    /// What it is for.
    pub(crate) purpose: Purpose,
    /// The upstream's own words.
    pub(crate) inner: String,
    /// The client's.
    pub(crate) token: String,
}

/// Opens the handle that a request holds, if it holds one.
///
/// # Errors
/// The refusal of one that is not this client's and this request's.
pub(crate) fn open(
    host: &Host,
    call: &Call,
    envelope: &Envelope<'_>,
) -> Result<Option<Opened>, Problem> {
    let era = call.era();
    let Some((purpose, token)) = handle::of(envelope).filter(|(purpose, _)| counts(era, *purpose))
    else {
        return Ok(None);
    };
    let handle = Handle::open(&host.sealer, purpose, token)
        .ok()
        .filter(|handle| handle.principal == call.principal)
        .filter(|handle| handle.binding == binding(purpose, envelope))
        .ok_or_else(|| handle::unknown(envelope, era))?;
    Ok(Some(Opened {
        upstream: handle.upstream,
        purpose,
        inner: handle.inner,
        token: token.to_owned(),
    }))
}

/// Whether clients of `era` have handles of this kind.
fn counts(era: Era, purpose: Purpose) -> bool {
    era == Era::Modern || purpose == Purpose::Task
}

/// The request with the upstream's own words in place of the handle.
pub(crate) fn restore(body: &[u8], envelope: &Envelope<'_>, opened: &Opened) -> Bytes {
    match opened.purpose {
        Purpose::Task => splice::with_name(body, envelope, &opened.inner),
        _ => splice::with_request_state(body, envelope, &opened.inner),
    }
}

/// An upstream's response with its request state sealed.
pub(crate) fn seal(
    host: &Host,
    call: &Call,
    envelope: &Envelope<'_>,
    upstream: &str,
    response: Bytes,
) -> Bytes {
    if memchr::memmem::find(&response, b"\"requestState\"").is_none() {
        return response;
    }
    let Some(mut object) = RawObject::parse(&response) else {
        return response;
    };
    let purpose = Purpose::RequestState;
    object.edit("result", |result| {
        if let Some(inner) = result.text("requestState") {
            let handle = Handle {
                client: call.client,
                principal: call.principal,
                created: hexagram_runtime::clock::unix_seconds(),
                binding: binding(purpose, envelope),
                upstream: upstream.to_owned(),
                inner,
            };
            let nonce = hexagram_runtime::random::bytes();
            result.set("requestState", &handle.seal(&host.sealer, purpose, nonce));
        }
    });
    serde_json::to_vec(&object).map_or(response, Bytes::from)
}

fn binding(purpose: Purpose, envelope: &Envelope<'_>) -> Binding {
    let (method, name) = (envelope.method.as_deref(), envelope.name.as_deref());
    match purpose {
        Purpose::Task => Binding::ANY,
        _ => Binding::to(method.unwrap_or_default(), name.unwrap_or_default()),
    }
}
