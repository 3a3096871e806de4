//! Server-sent events: an incremental reader for upstream replies and the
//! writer for ours (WHATWG HTML, "Server-sent events").

mod write;

use std::collections::VecDeque;

use bytes::Bytes;

pub use write::{KEEP_ALIVE, write_event, write_id, write_position};

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SseEvent {
    /// The id, if this event sets one.
    pub id: Option<String>,
    /// The event's type, if it names one.
    pub event: Option<String>,
    /// The data lines joined by newlines; not checked to be UTF-8.
    pub data: Bytes,
    /// The reconnection time in milliseconds, if this event sets one.
    pub retry: Option<u64>,
}

/// The peer's stream cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// One event is larger than the reader may buffer.
    #[error("an event is larger than {limit} bytes; raise the limit or have the peer send less")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}

/// Reads events from chunks of a stream that may be cut anywhere.
///
/// Push a chunk, then take events until there are none. Unlike a browser it also
/// reports events that only set an id or a retry time, with empty data: who
/// resumes the stream needs them.
#[derive(Debug)]
pub struct SseParser {
    limit: usize,
    /// A line whose end has not come yet.
    line: Vec<u8>,
    /// The last byte was a CR: an LF right behind it ends no second line.
    after_cr: bool,
    /// No line has ended yet, so a byte order mark may stand before this one.
    first_line: bool,
    draft: Draft,
    ready: VecDeque<SseEvent>,
}

/// The event being read.
#[derive(Debug, Default)]
struct Draft {
    id: Option<String>,
    event: Option<String>,
    data: Option<Vec<u8>>,
    retry: Option<u64>,
    /// Bytes of the lines kept so far.
    size: usize,
}

impl SseParser {
    /// A reader that buffers at most `limit` bytes of one event.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            after_cr: false,
            first_line: true,
            draft: Draft::default(),
            ready: VecDeque::new(),
        }
    }

    /// Reads the stream's next bytes.
    ///
    /// # Errors
    /// [`SseError::TooLarge`] when an event exceeds the limit. Events that were
    /// complete before can still be taken; the stream is to be dropped.
    pub fn push(&mut self, mut chunk: &[u8]) -> Result<(), SseError> {
        if self.after_cr && !chunk.is_empty() {
            self.after_cr = false;
            chunk = chunk.strip_prefix(b"\n").unwrap_or(chunk);
        }
        while let Some(end) = memchr::memchr2(b'\r', b'\n', chunk) {
            self.end_line(&chunk[..end])?;
            chunk = self.behind_line_end(&chunk[end..]);
        }
        self.reserve(chunk.len())?;
        self.line.extend_from_slice(chunk);
        Ok(())
    }

    /// What follows the line end at the start of `rest`.
    fn behind_line_end<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        self.after_cr = rest == b"\r";
        rest.strip_prefix(b"\r\n").unwrap_or(&rest[1..])
    }

    fn end_line(&mut self, tail: &[u8]) -> Result<(), SseError> {
        self.reserve(tail.len())?;
        if self.line.is_empty() {
            self.read_line(tail);
            return Ok(());
        }
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(tail);
        self.read_line(&line);
        line.clear();
        self.line = line;
        Ok(())
    }

    /// Refuses `more` bytes of the line being read when they exceed the limit.
    fn reserve(&self, more: usize) -> Result<(), SseError> {
        if self.draft.size + self.line.len() + more > self.limit {
            return Err(SseError::TooLarge { limit: self.limit });
        }
        Ok(())
    }

    fn read_line(&mut self, line: &[u8]) {
        let mut line = line;
        if std::mem::take(&mut self.first_line) {
            line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        }
        if line.is_empty() {
            self.ready.extend(std::mem::take(&mut self.draft).finish());
        } else {
            self.draft.field(line);
        }
    }
}

/// Not fused: more events may follow after another push.
impl Iterator for SseParser {
    type Item = SseEvent;

    fn next(&mut self) -> Option<SseEvent> {
        self.ready.pop_front()
    }
}

impl Draft {
    /// Takes in a line of `name`, `name:value` or `name: value`. A comment is a
    /// line with an empty name.
    fn field(&mut self, line: &[u8]) {
        let (name, value) = match memchr::memchr(b':', line) {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => self.add_data(value),
            b"id" if !value.contains(&0) => self.id = Some(text(value)),
            b"event" => self.event = Some(text(value)),
            b"retry" => self.retry = milliseconds(value).or(self.retry),
            _ => return,
        }
        self.size += line.len();
    }

    fn add_data(&mut self, value: &[u8]) {
        match &mut self.data {
            None => self.data = Some(value.to_vec()),
            Some(data) => {
                data.push(b'\n');
                data.extend_from_slice(value);
            }
        }
    }

    /// The event, unless its lines said nothing to act on.
    fn finish(self) -> Option<SseEvent> {
        if self.data.is_none() && self.id.is_none() && self.retry.is_none() {
            return None;
        }
        Some(SseEvent {
            id: self.id,
            event: self.event,
            data: self.data.unwrap_or_default().into(),
            retry: self.retry,
        })
    }
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

/// Digits only, as the standard has it.
fn milliseconds(value: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(value).ok()?;
    digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then_some(digits)?
        .parse()
        .ok()
}
