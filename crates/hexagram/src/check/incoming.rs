//! What comes back for one request, read piece by piece within bounds of time
//! and bytes: a JSON body is one event, a stream has many.

use std::time::Duration;

use hexagram_mcp::sse::{SseEvent, SseParser};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Response, StatusCode};
use tokio::time::{Instant, timeout_at};

use super::failure::{Failure, MAX_ANSWER};

/// An answer whose head has come.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    response: Response,
    form: Form,
    read: usize,
    patience: Duration,
    until: Instant,
}

#[derive(Debug)]
enum Form {
    Events(SseParser),
    Whole,
    Ended,
}

impl Incoming {
    /// `until` bounds the reading; `patience` is what to tell when it is over.
    pub(super) fn new(response: Response, patience: Duration, until: Instant) -> Self {
        let headers = response.headers().clone();
        let form = match media(&headers).as_str() {
            "text/event-stream" => Form::Events(SseParser::new(MAX_ANSWER)),
            _ => Form::Whole,
        };
        Self {
            status: response.status(),
            headers,
            response,
            form,
            read: 0,
            patience,
            until,
        }
    }

    pub(super) fn is_stream(&self) -> bool {
        matches!(self.form, Form::Events(_))
    }

    /// Waits for no more than this from now on, if that is sooner.
    pub(super) fn hurry(&mut self, patience: Duration) {
        self.until = self.until.min(Instant::now() + patience);
        self.patience = self.patience.min(patience);
    }

    /// Reads on for as long as `other`, which was asked for later.
    pub(super) fn renew(&mut self, other: &Self) {
        self.until = other.until;
        self.patience = other.patience;
    }

    /// The next event, or the whole body; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<SseEvent>, Failure> {
        match self.form {
            Form::Events(_) => self.next_event().await,
            Form::Whole => self.whole().await.map(Some),
            Form::Ended => Ok(None),
        }
    }

    async fn next_event(&mut self) -> Result<Option<SseEvent>, Failure> {
        loop {
            let Form::Events(parser) = &mut self.form else {
                return Ok(None);
            };
            if let Some(event) = parser.next() {
                return Ok(Some(event));
            }
            let Some(chunk) = self.chunk().await? else {
                return Ok(None);
            };
            if let Form::Events(parser) = &mut self.form {
                parser.push(&chunk).map_err(|_| Failure::TooLarge)?;
            }
        }
    }

    async fn whole(&mut self) -> Result<SseEvent, Failure> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            body.extend_from_slice(&chunk);
        }
        Ok(SseEvent {
            id: None,
            event: None,
            data: body.into(),
            retry: None,
        })
    }

    /// The next bytes of the body, counted.
    async fn chunk(&mut self) -> Result<Option<bytes::Bytes>, Failure> {
        let chunk = timeout_at(self.until, self.response.chunk()).await;
        let chunk = chunk.map_err(|_| Failure::Endless(self.patience))??;
        self.read += chunk.as_ref().map_or(0, bytes::Bytes::len);
        if self.read > MAX_ANSWER {
            return Err(Failure::TooLarge);
        }
        if chunk.is_none() {
            self.form = Form::Ended;
        }
        Ok(chunk)
    }
}

/// The media type, without parameters and in lower case; empty if there is none.
pub(super) fn media(headers: &HeaderMap) -> String {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next());
    essence.unwrap_or_default().trim().to_ascii_lowercase()
}
