//! What a session's streams have said lately, for clients that lost their
//! connection (MCP transports, "Resumability and Redelivery"). Time comes in as
//! an argument; who reads it is `stream.rs`.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use hexagram_core::{EventId, StreamId};
use tokio::time::Instant;

/// What is kept at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Messages of all streams of a session.
    pub(crate) messages: usize,
    /// Their bytes. The newest message is kept whatever its size.
    pub(crate) bytes: usize,
    /// How long a message is kept.
    pub(crate) age: Duration,
}

/// A session's limits. Clients come back within seconds; who sleeps longer
/// finds the end of a call, but not all of its chatter.
pub(crate) const LIMITS: Limits = Limits {
    messages: 256,
    bytes: 512 << 10,
    age: Duration::from_secs(120),
};

/// One message that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) id: EventId,
    pub(crate) message: Bytes,
    /// It ends its stream: a response.
    pub(crate) last: bool,
    at: Instant,
}

/// The messages of a session's streams, oldest first.
#[derive(Debug)]
pub(crate) struct Replay {
    limits: Limits,
    said: VecDeque<Said>,
    bytes: usize,
}

impl Replay {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            said: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Keeps a message, at the cost of older ones: responses go last, for
    /// without its response a call's client waits in vain. Gives the ids of those.
    pub(crate) fn append(
        &mut self,
        id: EventId,
        message: Bytes,
        last: bool,
        now: Instant,
    ) -> Vec<EventId> {
        let mut dropped = self.expire(now);
        self.bytes += message.len();
        self.said.push_back(Said {
            id,
            message,
            last,
            at: now,
        });
        while self.is_over() {
            dropped.extend(self.evict());
        }
        dropped
    }

    /// All messages, oldest first, with their age.
    pub(crate) fn all(&self, now: Instant) -> impl Iterator<Item = (&Said, Duration)> {
        let aged = move |said| (said, age(said, now));
        self.said.iter().map(aged)
    }

    /// The messages of a stream behind a position, oldest first.
    pub(crate) fn after(&self, position: EventId) -> Vec<Said> {
        let behind = |said: &&Said| said.id.stream == position.stream && said.id.seq > position.seq;
        self.said.iter().filter(behind).cloned().collect()
    }

    /// Drops what is too old; gives the ids of that.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<EventId> {
        let limit = self.limits.age;
        let is_old = |said: &Said| age(said, now) > limit;
        let mut dropped = Vec::new();
        while self.said.front().is_some_and(is_old) {
            dropped.extend(self.remove(0));
        }
        dropped
    }

    /// Drops what a stream has said; gives the ids of that.
    pub(crate) fn forget(&mut self, stream: StreamId) -> Vec<EventId> {
        let of_it = |said: &&Said| said.id.stream == stream;
        let dropped = self.said.iter().filter(of_it).map(|said| said.id).collect();
        self.said.retain(|said| said.id.stream != stream);
        self.bytes = self.said.iter().map(|said| said.message.len()).sum();
        dropped
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.said.is_empty()
    }

    fn is_over(&self) -> bool {
        let (messages, bytes) = (self.said.len(), self.bytes);
        messages > self.limits.messages || (bytes > self.limits.bytes && messages > 1)
    }

    fn evict(&mut self) -> Option<EventId> {
        let older = self.said.len() - 1;
        let chatter = self.said.iter().take(older).position(|said| !said.last);
        self.remove(chatter.unwrap_or(0))
    }

    fn remove(&mut self, index: usize) -> Option<EventId> {
        let said = self.said.remove(index)?;
        self.bytes -= said.message.len();
        Some(said.id)
    }
}

fn age(said: &Said, now: Instant) -> Duration {
    now.duration_since(said.at)
}

#[cfg(test)]
mod tests;
