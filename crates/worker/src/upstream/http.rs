//! Upstreams over Streamable HTTP.

mod events;

#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use hexagram_mcp::envelope::{Envelope, scan};
use hexagram_mcp::header::mirror;
use hexagram_mcp::header::names::{MCP_PROTOCOL_VERSION, MCP_SESSION_ID};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use parking_lot::Mutex;
use reqwest::{Client, Response};

use super::{Incoming, UpstreamError, UpstreamLimits};
use crate::raw::error_code;
use events::{Position, Source, is_event_stream};

/// Of an error reply, this much is quoted, in bytes.
const QUOTED: usize = 200;
/// An upstream may take this long to end a session.
const CLOSE: Duration = Duration::from_secs(2);

/// A connection that nothing used for so long is not used again: Node and uvicorn close
/// theirs after five seconds, and a request that meets that is lost unanswered.
const IDLE: Duration = Duration::from_secs(4);

/// A Streamable HTTP endpoint.
#[derive(Debug, Clone)]
pub(super) struct Target {
    url: Arc<str>,
    client: Client,
    // For standing streams, which may be silent for as long as they like.
    listener: Client,
    limits: UpstreamLimits,
    /// What the configuration says that requests carry; clones share it, so that sessions
    /// that are open already take a new key over.
    configured: Arc<ArcSwap<HeaderMap>>,
}

impl Target {
    pub(super) fn new(
        url: String,
        headers: HeaderMap,
        limits: UpstreamLimits,
    ) -> Result<Self, UpstreamError> {
        let builder = || {
            Client::builder()
                .connect_timeout(limits.connect)
                .pool_idle_timeout(IDLE)
                .tcp_nodelay(true)
                .redirect(reqwest::redirect::Policy::none())
                .user_agent(concat!("hexagram/", env!("CARGO_PKG_VERSION")))
        };
        let unusable = |error: reqwest::Error| UpstreamError::Unreachable(causes(error));
        Ok(Self {
            url: url.into(),
            client: builder()
                .read_timeout(limits.silence)
                .build()
                .map_err(unusable)?,
            listener: builder().build().map_err(unusable)?,
            limits,
            configured: Arc::new(ArcSwap::from_pointee(headers)),
        })
    }

    /// Becomes as the other one, which is in the same place; its clones send the other's
    /// headers from now on.
    pub(super) fn take(&mut self, other: &Self) {
        self.configured.store(other.configured.load_full());
        *self = Self {
            configured: Arc::clone(&self.configured),
            ..other.clone()
        };
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn limits(&self) -> UpstreamLimits {
        self.limits
    }

    /// Maps a failed request: before the upstream had it, or after.
    fn failed(&self, error: reqwest::Error) -> UpstreamError {
        if error.is_timeout() && !error.is_connect() {
            UpstreamError::Silent(self.limits.silence)
        } else if error.is_connect() || error.is_builder() {
            UpstreamError::Unreachable(causes(error))
        } else {
            UpstreamError::Broken(causes(error))
        }
    }

    async fn collect(&self, response: Response) -> Result<Bytes, UpstreamError> {
        let limit = self.limits.max_message;
        let mut body = BytesMut::new();
        let mut pieces = response.bytes_stream();
        while let Some(piece) = pieces.next().await {
            body.extend_from_slice(&piece.map_err(|error| self.failed(error))?);
            if body.len() > limit {
                return Err(UpstreamError::Garbage(format!(
                    "a message longer than {limit} bytes"
                )));
            }
        }
        Ok(body.freeze())
    }
}

/// An error with what lies beneath it; reqwest's own text omits the cause. Without
/// the URL: clients read this, and it may hold a key.
fn causes(error: reqwest::Error) -> String {
    let error = error.without_url();
    let first: &dyn std::error::Error = &error;
    let chain = std::iter::successors(Some(first), |error| error.source());
    chain
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// What a session is known by outside of its worker; empty where it has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) session_id: String,
    pub(crate) protocol_version: String,
    /// The last event id of its standing stream.
    pub(crate) position: String,
}

/// One client's session with a Streamable HTTP upstream.
#[derive(Debug)]
pub(crate) struct HttpConnection {
    target: Target,
    // Set once by the initialize exchange.
    headers: Mutex<HeaderMap>,
    // Where the standing stream was last, and whether there ever was one.
    standing: Position,
    has_stood: AtomicBool,
    closed: AtomicBool,
    // Of modern requests: nothing lasts between them.
    stateless: bool,
}

impl HttpConnection {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            headers: Mutex::default(),
            standing: Position::default(),
            has_stood: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            stateless: false,
        }
    }

    /// For modern requests; `params` mirrors a call's arguments.
    pub(super) fn stateless(target: Target, params: HeaderMap) -> Self {
        Self {
            headers: Mutex::new(params),
            stateless: true,
            ..Self::new(target)
        }
    }

    /// Remembers the version that the upstream chose.
    pub(super) fn negotiated(&self, version: Option<&str>) {
        if let Some(version) = version.and_then(|version| HeaderValue::from_str(version).ok()) {
            self.headers.lock().insert(MCP_PROTOCOL_VERSION, version);
        }
    }

    /// What another worker needs to go on with this session; `None` where there
    /// is none.
    pub(crate) fn carried(&self) -> Option<Carried> {
        let headers = self.headers.lock();
        let text = |value: Option<&HeaderValue>| {
            let value = value.and_then(|value| value.to_str().ok());
            value.map(str::to_owned).unwrap_or_default()
        };
        let live = !self.stateless && self.is_open();
        live.then(|| Carried {
            session_id: text(headers.get(MCP_SESSION_ID)),
            protocol_version: text(headers.get(MCP_PROTOCOL_VERSION)),
            position: text(self.standing.lock().as_ref()),
        })
    }

    /// The session that another worker has opened.
    pub(super) fn going_on(target: Target, carried: &Carried) -> Self {
        let this = Self::new(target);
        this.negotiated(
            Some(&carried.protocol_version)
                .filter(|version| !version.is_empty())
                .map(String::as_str),
        );
        let value = |text: &str| {
            HeaderValue::from_str(text)
                .ok()
                .filter(|value| !value.is_empty())
        };
        if let Some(id) = value(&carried.session_id) {
            this.headers.lock().insert(MCP_SESSION_ID, id);
        }
        *this.standing.lock() = value(&carried.position);
        this
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::clone(&self.target.configured.load());
        headers.extend(self.headers.lock().clone());
        headers
    }

    /// What goes with a message beside it.
    fn headers_of(&self, body: &[u8]) -> HeaderMap {
        let mut headers = self.headers();
        if self.stateless
            && let Ok(envelope) = scan(body)
        {
            headers.extend(mirror(&envelope));
        }
        headers
    }

    async fn post(
        &self,
        client: &Client,
        body: Bytes,
        id: Option<&str>,
    ) -> Result<Response, UpstreamError> {
        let response = client
            .post(&*self.target.url)
            .headers(self.headers_of(&body))
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream")
            .body(body)
            .send()
            .await
            .map_err(|error| self.target.failed(error))?;
        self.check(response, id).await
    }

    /// Lets a success pass. `id` is our id of the request, if it was one.
    async fn check(&self, response: Response, id: Option<&str>) -> Result<Response, UpstreamError> {
        let status = response.status();
        if status == StatusCode::NOT_FOUND && self.headers.lock().contains_key(MCP_SESSION_ID) {
            self.closed.store(true, Ordering::Release);
            return Err(UpstreamError::SessionGone);
        }
        if status.is_success() {
            return Ok(response);
        }
        let body = self.target.collect(response).await.unwrap_or_default();
        // A refusal that answers our request goes to the client as it is. Many
        // servers answer with an id of null or of their own.
        let answers = |envelope: Envelope<'_>| {
            envelope.kind.is_response() && id.is_some() && envelope.id.map(|id| id.as_str()) == id
        };
        if scan(&body).is_ok_and(answers) {
            return Err(UpstreamError::Answered(body));
        }
        Err(UpstreamError::Refused {
            status: status.as_u16(),
            code: error_code(&body),
            detail: String::from_utf8_lossy(&body[..body.len().min(QUOTED)]).into_owned(),
        })
    }

    pub(super) async fn request(&self, id: &str, body: Bytes) -> Result<Incoming, UpstreamError> {
        self.request_with(&self.target.client, id, body).await
    }

    /// A request whose answer may be silent for as long as it likes.
    pub(super) async fn listen(&self, id: &str, body: Bytes) -> Result<Incoming, UpstreamError> {
        self.request_with(&self.target.listener, id, body).await
    }

    async fn request_with(
        &self,
        client: &Client,
        id: &str,
        body: Bytes,
    ) -> Result<Incoming, UpstreamError> {
        let response = match self.post(client, body, Some(id)).await {
            Err(UpstreamError::Answered(body)) => return Ok(once(body)),
            other => other?,
        };
        if let Some(id) = response.headers().get(MCP_SESSION_ID) {
            self.headers.lock().insert(MCP_SESSION_ID, id.clone());
        }
        if is_event_stream(&response) {
            return Ok(self.call_source().messages(response));
        }
        let body = self.target.collect(response).await?;
        match scan(&body) {
            Ok(envelope) if envelope.kind.is_response() => Ok(once(body)),
            Ok(_) => Err(UpstreamError::Garbage("no response".to_owned())),
            Err(error) => Err(UpstreamError::Garbage(error.to_string())),
        }
    }

    /// A modern upstream takes requests only; that one is cancelled it learns
    /// from the end of the connection.
    pub(super) async fn send(&self, body: Bytes) -> Result<(), UpstreamError> {
        if self.stateless {
            return Ok(());
        }
        self.post(&self.target.client, body, None).await.map(drop)
    }

    /// Whether the standing stream goes on where it was lost.
    pub(super) fn resumes(&self) -> bool {
        self.standing.lock().is_some()
    }

    /// Whether it has had a standing stream.
    pub(super) fn has_stood(&self) -> bool {
        self.has_stood.load(Ordering::Acquire)
    }

    /// The upstream's standing stream; empty where it offers none.
    pub(super) async fn standing(&self) -> Result<Incoming, UpstreamError> {
        let source = self.standing_source();
        let response = source.get().await?;
        // Some frameworks answer 404 where a route has no GET. Where it had one,
        // the session is gone.
        let none_offered = [StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_FOUND];
        if none_offered.contains(&response.status()) && !self.has_stood() {
            return Ok(futures_util::stream::pending().boxed());
        }
        match self.check(response, None).await {
            Ok(response) if is_event_stream(&response) => {
                self.has_stood.store(true, Ordering::Release);
                Ok(source.messages(response))
            }
            // An ingress says such things while the server is away.
            Ok(_) => Err(UpstreamError::Garbage(
                "its standing stream is no event stream".to_owned(),
            )),
            Err(error) => {
                // It may not like the position; the next attempt goes without.
                *self.standing.lock() = None;
                Err(error)
            }
        }
    }

    /// How a call's stream goes on.
    fn call_source(&self) -> Source {
        Source {
            target: self.target.clone(),
            client: self.target.client.clone(),
            headers: self.headers(),
            position: Position::default(),
            until_response: true,
            resumable: !self.stateless,
        }
    }

    /// How the standing stream goes on: from where any earlier one was lost.
    fn standing_source(&self) -> Source {
        Source {
            client: self.target.listener.clone(),
            position: Arc::clone(&self.standing),
            until_response: false,
            ..self.call_source()
        }
    }

    pub(super) fn is_open(&self) -> bool {
        !self.closed.load(Ordering::Acquire)
    }

    /// Ends the session at the upstream, if that issued one (it may not allow it).
    pub(super) async fn close(&self) {
        let headers = self.headers();
        if self.closed.swap(true, Ordering::AcqRel) || !headers.contains_key(MCP_SESSION_ID) {
            return;
        }
        let request = self
            .target
            .client
            .request(Method::DELETE, &*self.target.url)
            .timeout(CLOSE)
            .headers(headers);
        if let Err(error) = request.send().await {
            tracing::debug!(error = causes(error), "an upstream session was not closed");
        }
    }
}

fn once(body: Bytes) -> Incoming {
    futures_util::stream::once(std::future::ready(Ok(body))).boxed()
}
