//! Replies to clients: plain JSON when the answer is all there is, else an
//! event stream (MCP transports, "Streamable HTTP").

#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hexagram_mcp::error::Problem;
use hexagram_mcp::header::names::MCP_SESSION_ID;
use hexagram_mcp::sse::{KEEP_ALIVE, write_id, write_position};
use hexagram_mcp::{completion, unbreak};
use hexagram_proto::link::Head;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use hyper::body::{Frame, SizeHint};
use prometheus::IntGauge;

use crate::exchange::Exchange;
use crate::parting::End;
use crate::slot::{Incoming, Loss, Piece, Position};
use crate::unanswered::Unanswered;

/// A reply to a client.
pub(crate) type Response = http::Response<Body>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A long JSON message whose rest was lost: the transfer is cut off, so that
/// nobody takes what there is for the whole.
#[derive(Debug, thiserror::Error)]
#[error("the rest of the message was lost")]
pub(crate) struct Broken;

/// The body of a reply.
pub(crate) enum Body {
    /// All there is.
    Full(Bytes),
    /// Messages as they come.
    Stream(Box<EventBody>),
}

impl Body {
    fn empty() -> Self {
        Self::Full(Bytes::new())
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let data = match &mut *self {
            Self::Full(bytes) if bytes.is_empty() => None,
            Self::Full(bytes) => Some(std::mem::take(bytes)),
            Self::Stream(stream) => {
                let data = std::task::ready!(stream.poll_data(cx));
                return Poll::Ready(data.map(|data| data.map(Frame::data)));
            }
        };
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_empty(),
            Self::Stream(stream) => stream.done,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// A refusal as an HTTP reply: the JSON-RPC error, its status and headers.
pub(crate) fn refusal(problem: &Problem, id: Option<&str>) -> Response {
    let mut response = json(problem.http_status(), problem.body(id));
    let headers = response.headers_mut();
    if let Some(ms) = problem.retry_after_ms() {
        headers.insert(RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000)));
    }
    if matches!(problem, Problem::Unauthorized) {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Problem::MethodNotAllowed { allowed } = problem {
        headers.insert(ALLOW, HeaderValue::from_static(allowed));
    }
    response
}

/// A refusal of a batch: each of its requests gets the error.
pub(crate) fn refusal_of_batch(problem: &Problem, batch: &[u8]) -> Response {
    let mut response = refusal(problem, None);
    if let Some(all) = Unanswered::of_batch(batch).answer(problem) {
        *response.body_mut() = Body::Full(all);
    }
    response
}

fn json(status: StatusCode, body: Bytes) -> Response {
    let mut response = http::Response::new(Body::Full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// How an exchange is answered.
pub(crate) struct Replier<'a> {
    /// Raw JSON id of the client's request, for errors; `None` when it was none.
    pub(crate) id: Option<&'a str>,
    /// The client's message, where it is a batch.
    pub(crate) batch: Option<Bytes>,
    /// Whether the message may have effects that must not be repeated blindly.
    pub(crate) may_have_run: bool,
    /// Whether silence may turn the reply into a stream. Not where the reply's
    /// head carries something: a session id comes with the first byte or never.
    pub(crate) may_stream: bool,
    /// When a standing stream ends in its own form; calls run to their end.
    pub(crate) end: Option<End>,
    pub(crate) streams: IntGauge,
}

impl Replier<'_> {
    /// Waits for the first word of the worker and chooses the reply's form. A
    /// call that stays quiet for a keep-alive becomes a stream, so that
    /// nothing in between takes it for dead.
    pub(crate) async fn answer(self, mut exchange: Exchange) -> Result<Response, Problem> {
        let first = loop {
            match exchange.next().await {
                Incoming::Quiet if !self.may_stream => {}
                first => break first,
            }
        };
        match first {
            Incoming::Event(piece) if piece.last && !piece.more => {
                Ok(with_head(json(StatusCode::OK, piece.data), piece.head))
            }
            Incoming::Event(mut piece) => {
                let head = piece.head.take();
                let format = if piece.last {
                    Format::Json
                } else {
                    Format::Events
                };
                let first = Some(Incoming::Event(piece));
                Ok(with_head(self.stream(exchange, format, first), head))
            }
            Incoming::Quiet => Ok(self.stream(exchange, Format::Events, None)),
            Incoming::Start(_) => Ok(self.stream(exchange, Format::Events, Some(first))),
            Incoming::End(head) => Ok(with_head(http::Response::new(Body::empty()), Some(head))),
            Incoming::Refused(problem) => Err(problem),
            Incoming::Lost(loss) => Err(exchange.lost(loss, self.may_have_run)),
        }
    }

    fn stream(self, exchange: Exchange, format: Format, first: Option<Incoming>) -> Response {
        let body = EventBody {
            may_have_run: self.may_have_run,
            unanswered: match &self.batch {
                Some(batch) => Unanswered::of_batch(batch),
                None => Unanswered::of(self.id),
            },
            exchange,
            format,
            first,
            position: Position::default(),
            in_message: false,
            done: false,
            end: self.end,
            streams: self.streams,
        };
        body.streams.inc();
        let events = matches!(format, Format::Events);
        let mut response = http::Response::new(Body::Stream(Box::new(body)));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, if events { EVENT_STREAM } else { JSON });
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
        response
    }
}

fn with_head(mut response: Response, head: Option<Head>) -> Response {
    let Some(head) = head else { return response };
    if let Some(status) = u16::try_from(head.status)
        .ok()
        .and_then(|code| StatusCode::from_u16(code).ok())
    {
        *response.status_mut() = status;
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&head.session_id)
        && !id.is_empty()
    {
        headers.insert(MCP_SESSION_ID, id);
    }
    if head.retry_after_ms > 0 {
        headers.insert(
            RETRY_AFTER,
            HeaderValue::from(head.retry_after_ms.div_ceil(1000)),
        );
    }
    response
}

/// The form of a streamed body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// Server-sent events.
    Events,
    /// One long JSON message.
    Json,
}

type Polled = Poll<Option<Result<Bytes, Broken>>>;

/// A body that follows an exchange.
pub(crate) struct EventBody {
    exchange: Exchange,
    format: Format,
    first: Option<Incoming>,
    // Where the client may go on if this edge lets it go.
    position: Position,
    in_message: bool,
    done: bool,
    unanswered: Unanswered,
    may_have_run: bool,
    end: Option<End>,
    streams: IntGauge,
}

impl EventBody {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Polled {
        if self.done {
            return Poll::Ready(None);
        }
        if let Some(first) = self.first.take() {
            return self.take(first, cx);
        }
        match self.exchange.poll_next(cx) {
            Poll::Ready(incoming) => self.take(incoming, cx),
            Poll::Pending => self.poll_end(cx),
        }
    }

    fn take(&mut self, incoming: Incoming, cx: &mut Context<'_>) -> Polled {
        match incoming {
            Incoming::Event(piece) => Poll::Ready(Some(Ok(self.write(piece)))),
            Incoming::Start(position) if position.event_id.is_empty() => self.poll_data(cx),
            Incoming::Start(position) => {
                self.position = position;
                Poll::Ready(Some(Ok(position_event(&self.position))))
            }
            Incoming::Quiet => self.keep_alive(cx),
            Incoming::End(_) => self.finish(None),
            Incoming::Refused(problem) => self.finish(Some(problem)),
            // The worker goes on, and the client finds it by another edge.
            Incoming::Lost(Loss::Edge) if self.may_return() => self.let_go(),
            Incoming::Lost(loss) => {
                let lost = self.exchange.lost(loss, self.may_have_run);
                self.finish(Some(lost))
            }
        }
    }

    /// Whether the client knows from where to go on, and that it may.
    fn may_return(&self) -> bool {
        self.position.retry_ms > 0 && !self.in_message
    }

    /// Ends the body where the client may go on later.
    fn let_go(&mut self) -> Polled {
        self.done = true;
        Poll::Ready(Some(Ok(position_event(&self.position))))
    }

    fn write(&mut self, piece: Piece) -> Bytes {
        let starts = !self.in_message;
        self.in_message = piece.more;
        self.done = piece.last && !piece.more;
        match self.format {
            Format::Json => piece.data,
            Format::Events => {
                self.unanswered.pass(&piece);
                let part = event_part(&piece, starts);
                if !piece.event_id.is_empty() {
                    self.position.event_id = piece.event_id;
                }
                part
            }
        }
    }

    /// Ends the body; open requests are answered with `problem` first, so that
    /// the client never has to guess from a bare close.
    fn finish(&mut self, problem: Option<Problem>) -> Polled {
        self.done = true;
        if self.format == Format::Json {
            return Poll::Ready(Some(Err(Broken)));
        }
        let answers = problem.map(|problem| self.unanswered.answers(&problem));
        self.end_with(answers.unwrap_or_default())
    }

    /// Ends the body with these messages.
    fn end_with(&mut self, messages: impl IntoIterator<Item = Bytes>) -> Polled {
        self.done = true;
        let mut messages = messages.into_iter().peekable();
        if messages.peek().is_none() {
            return Poll::Ready(None);
        }
        let mut out = BytesMut::new();
        if self.in_message {
            // Cuts the half-sent event off: a client drops what does not parse.
            out.extend_from_slice(b"\n\n");
        }
        for message in messages {
            out.extend_from_slice(&event_part(&last(message), true));
        }
        Poll::Ready(Some(Ok(out.freeze())))
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Polled {
        let Some(end) = &mut self.end else {
            return Poll::Pending;
        };
        std::task::ready!(end.as_mut().poll(cx));
        // What was asked for with a request is a subscription.
        match self.unanswered.only().map(completion) {
            Some(farewell) => self.end_with([farewell]),
            None if self.may_return() => self.let_go(),
            None => self.finish(None),
        }
    }

    /// A comment tells everybody on the way that the stream lives. There is no
    /// place for one within a message.
    fn keep_alive(&mut self, cx: &mut Context<'_>) -> Polled {
        if self.in_message || self.format == Format::Json {
            return self.poll_data(cx);
        }
        Poll::Ready(Some(Ok(Bytes::from_static(KEEP_ALIVE))))
    }
}

impl Drop for EventBody {
    fn drop(&mut self) {
        self.streams.dec();
    }
}

/// A whole message that nothing follows.
fn last(data: Bytes) -> Piece {
    Piece {
        data,
        more: false,
        last: true,
        head: None,
        event_id: String::new(),
    }
}

/// Where the stream stands, as an event of its own.
fn position_event(position: &Position) -> Bytes {
    let mut out = BytesMut::new();
    write_position(&mut out, &position.event_id, position.retry_ms);
    out.freeze()
}

/// One piece of a message as server-sent event text.
fn event_part(piece: &Piece, starts: bool) -> Bytes {
    let mut out = BytesMut::with_capacity(piece.data.len() + 32);
    if starts {
        out.extend_from_slice(b"event: message\n");
        if !piece.event_id.is_empty() {
            write_id(&mut out, &piece.event_id);
        }
        out.extend_from_slice(b"data: ");
    }
    let start = out.len();
    out.extend_from_slice(&piece.data);
    // A line break would end the event's data.
    unbreak(&mut out[start..]);
    if !piece.more {
        out.extend_from_slice(b"\n\n");
    }
    out.freeze()
}
