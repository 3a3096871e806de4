//! An upstream's event stream, which may break: it is asked for the rest, and
//! whoever reads the messages does not notice (MCP transports, "Resumability and
//! Redelivery"; SEP-1699: some upstreams close their streams on purpose).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use hexagram_mcp::envelope::scan;
use hexagram_mcp::header::names::LAST_EVENT_ID;
use hexagram_mcp::sse::{SseEvent, SseParser};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use parking_lot::Mutex;
use reqwest::{Client, Response};
use serde_json::json;
use tokio::time::Instant;

use super::Target;
use crate::upstream::{BEGIN_STREAM, Incoming, UpstreamError};

/// Pause before a broken stream is asked for, unless the upstream names another.
const RETRY: Duration = Duration::from_secs(1);
/// Whatever an upstream says, it is not asked more often, nor later.
const SHORTEST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// Attempts in a row that give no stream.
const ATTEMPTS: u32 = 5;
/// An upstream may be polled so long without a message from it.
const PATIENCE: Duration = Duration::from_secs(3600);

/// The last event id of a stream, shared with who opens its successor.
pub(super) type Position = Arc<Mutex<Option<HeaderValue>>>;

/// How to go on with a stream that broke.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) target: Target,
    /// Waits as long as the stream may be silent.
    pub(super) client: Client,
    /// What identifies the session.
    pub(super) headers: HeaderMap,
    pub(super) position: Position,
    /// A call's stream is over with the response.
    pub(super) until_response: bool,
    /// Modern streams are not resumed: what broke is lost.
    pub(super) resumable: bool,
}

impl Source {
    /// Asks for the stream behind the position, or from now on.
    pub(super) async fn get(&self) -> Result<Response, UpstreamError> {
        let mut headers = self.headers.clone();
        if let Some(position) = self.position.lock().clone() {
            headers.insert(LAST_EVENT_ID, position);
        }
        self.client
            .get(&*self.target.url)
            .headers(headers)
            .header(ACCEPT, "text/event-stream")
            .send()
            .await
            .map_err(|error| self.target.failed(error))
    }

    /// The messages of a stream and of its continuations.
    pub(super) fn messages(self, first: Response) -> Incoming {
        let reader = Reader {
            pieces: Some(self.pieces(first)),
            parser: SseParser::new(self.target.limits.max_message),
            source: self,
            retry: RETRY,
            heard: Instant::now(),
            done: false,
        };
        futures_util::stream::try_unfold(reader, |mut reader| async move {
            Ok(reader.next().await?.map(|message| (message, reader)))
        })
        .boxed()
    }

    fn pieces(&self, response: Response) -> Pieces {
        let target = self.target.clone();
        let failed = move |error| target.failed(error);
        response.bytes_stream().map_err(failed).boxed()
    }
}

type Pieces = BoxStream<'static, Result<Bytes, UpstreamError>>;

/// A stream being read.
struct Reader {
    source: Source,
    // None between a stream and its continuation.
    pieces: Option<Pieces>,
    parser: SseParser,
    retry: Duration,
    // When the last message came.
    heard: Instant,
    done: bool,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        while !self.done {
            if let Some(message) = self.parsed() {
                return Ok(Some(message));
            }
            let Some(pieces) = &mut self.pieces else {
                self.resume().await?;
                continue;
            };
            match pieces.next().await {
                Some(Ok(piece)) => self
                    .parser
                    .push(&piece)
                    .map_err(|error| UpstreamError::Garbage(error.to_string()))?,
                Some(Err(error)) => self.broke(Err(error))?,
                None => {
                    self.broke(Ok(()))?;
                    if !self.done && self.source.until_response {
                        return Ok(Some(begin_stream()));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The next event with a message; priming events carry none.
    fn parsed(&mut self) -> Option<Bytes> {
        while let Some(event) = self.parser.next() {
            self.note(&event);
            if event.data.is_empty() {
                continue;
            }
            self.heard = Instant::now();
            self.done = self.source.until_response && is_response(&event.data);
            return Some(event.data);
        }
        None
    }

    fn note(&mut self, event: &SseEvent) {
        if let Some(ms) = event.retry {
            let retry = Duration::from_millis(ms);
            self.retry = retry.clamp(SHORTEST_RETRY, LONGEST_RETRY);
        }
        if let Some(id) = event.id.as_ref().filter(|_| self.source.resumable) {
            // An empty id takes the last one back (WHATWG HTML, 9.2.6).
            let id = HeaderValue::from_str(id).ok().filter(|id| !id.is_empty());
            *self.source.position.lock() = id;
        }
    }

    /// The stream ended, well or badly. Without a position that is the end.
    fn broke(&mut self, how: Result<(), UpstreamError>) -> Result<(), UpstreamError> {
        self.pieces = None;
        if self.source.position.lock().is_some() {
            return Ok(());
        }
        self.done = true;
        how
    }

    async fn resume(&mut self) -> Result<(), UpstreamError> {
        let mut failed = UpstreamError::Silent(PATIENCE);
        for _ in 0..ATTEMPTS {
            if self.heard.elapsed() > PATIENCE {
                break;
            }
            tokio::time::sleep(self.retry).await;
            match self.source.get().await {
                Ok(response) if is_event_stream(&response) => {
                    self.parser = SseParser::new(self.source.target.limits.max_message);
                    self.pieces = Some(self.source.pieces(response));
                    return Ok(());
                }
                Ok(response) if !response.status().is_server_error() => {
                    // It does not know the position: nothing will come of asking again.
                    *self.source.position.lock() = None;
                    return Err(refused(&response));
                }
                Ok(response) => failed = refused(&response),
                Err(error) => failed = error,
            }
        }
        Err(lost(&failed))
    }
}

fn refused(response: &Response) -> UpstreamError {
    let status = response.status().as_u16();
    UpstreamError::Broken(format!(
        "its stream broke and it answered HTTP {status} when asked for the rest"
    ))
}

/// The upstream had the request, whatever kept it from telling the rest.
fn lost(why: &UpstreamError) -> UpstreamError {
    UpstreamError::Broken(format!("its stream broke and was not resumed: {why}"))
}

fn is_response(message: &[u8]) -> bool {
    scan(message).is_ok_and(|envelope| envelope.kind.is_response())
}

/// Says that the upstream has let us go until it answers.
fn begin_stream() -> Bytes {
    let begin = json!({"jsonrpc": "2.0", "method": BEGIN_STREAM});
    Bytes::from(begin.to_string())
}

/// Whether a reply is a stream of events.
pub(super) fn is_event_stream(response: &Response) -> bool {
    response.status().is_success()
        && response
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}
