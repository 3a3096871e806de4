//! Upstreams' task ids and request states on their way: sealed toward a modern
//! client, opened toward the upstream (DESIGN 4).

use bytes::Bytes;
use hexagram_core::{Binding, Handle, Purpose};
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
    purpose: Purpose,
    inner: String,
    token: String,
}

impl Opened {
    fn is(&self, purpose: Purpose, inner: &str) -> bool {
        self.purpose == purpose && self.inner == inner
    }
}

/// Opens the handle that a modern request holds, if it holds one.
///
/// # Errors
/// The refusal of one that is not this client's and this request's.
pub(crate) fn open(
    host: &Host,
    call: &Call,
    envelope: &Envelope<'_>,
) -> Result<Option<Opened>, Problem> {
    let Some((purpose, token)) = handle::of(envelope) else {
        return Ok(None);
    };
    let handle = Handle::open(&host.sealer, purpose, token)
        .ok()
        .filter(|handle| handle.principal == call.principal)
        .filter(|handle| handle.binding == binding(purpose, envelope))
        .ok_or_else(|| handle::unknown(envelope))?;
    Ok(Some(Opened {
        upstream: handle.upstream,
        purpose,
        inner: handle.inner,
        token: token.to_owned(),
    }))
}

/// The request with the upstream's own words in place of the handle.
pub(crate) fn restore(body: &[u8], envelope: &Envelope<'_>, opened: &Opened) -> Bytes {
    match opened.purpose {
        Purpose::Task => splice::with_name(body, envelope, &opened.inner),
        _ => splice::with_request_state(body, envelope, &opened.inner),
    }
}

/// An upstream's response with handles in place of its own words. A task that
/// the request named keeps the name that its client knows.
pub(crate) fn seal(
    host: &Host,
    call: &Call,
    envelope: &Envelope<'_>,
    (upstream, opened): (&str, Option<&Opened>),
    response: Bytes,
) -> Bytes {
    let holds = |member: &str| memchr::memmem::find(&response, member.as_bytes()).is_some();
    if !holds("\"requestState\"") && !holds("\"taskId\"") {
        return response;
    }
    let Some(mut object) = RawObject::parse(&response) else {
        return response;
    };
    let sealed = |purpose, inner: String| {
        if let Some(known) = opened.filter(|known| known.is(purpose, &inner)) {
            return known.token.clone();
        }
        let handle = Handle {
            client: call.client,
            principal: call.principal,
            created: hexagram_runtime::clock::unix_seconds(),
            binding: binding(purpose, envelope),
            upstream: upstream.to_owned(),
            inner,
        };
        handle.seal(&host.sealer, purpose, hexagram_runtime::random::bytes())
    };
    object.edit("result", |result| {
        for (member, purpose) in HANDLES {
            if let Some(inner) = result.text(member) {
                result.set(member, &sealed(purpose, inner));
            }
        }
    });
    serde_json::to_vec(&object).map_or(response, Bytes::from)
}

/// The members of a result that are handles.
const HANDLES: [(&str, Purpose); 2] = [
    ("requestState", Purpose::RequestState),
    ("taskId", Purpose::Task),
];

fn binding(purpose: Purpose, envelope: &Envelope<'_>) -> Binding {
    let (method, name) = (envelope.method.as_deref(), envelope.name.as_deref());
    match purpose {
        Purpose::Task => Binding::ANY,
        _ => Binding::to(method.unwrap_or_default(), name.unwrap_or_default()),
    }
}
