//! Event ids: which message of which stream. They are unique in a session and
//! name their stream (MCP 2025-11-25, "Resumability and Redelivery"). An id is
//! no secret: it is looked up in the session that presents it and nowhere else.

use std::fmt;

/// What a stream belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamKind {
    /// A request; it ends with the response.
    Call,
    /// The session (GET).
    Standing,
}

impl StreamKind {
    fn letter(self) -> char {
        match self {
            Self::Call => 'c',
            Self::Standing => 's',
        }
    }
}

/// One stream of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// What it belongs to.
    pub kind: StreamKind,
    /// Epoch of the shard in which it began: its next owner counts anew.
    pub epoch: u64,
    /// Which of the streams that began in this epoch.
    pub number: u64,
}

impl StreamId {
    /// The stream's `seq`th message; 0 is before the first.
    #[must_use]
    pub fn event(self, seq: u64) -> EventId {
        EventId { stream: self, seq }
    }
}

/// One message of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// The stream.
    pub stream: StreamId,
    /// Which of its messages, counted from 1; 0 is before the first.
    pub seq: u64,
}

impl EventId {
    /// Reads an id in the form that [`fmt::Display`] writes; `None` for any other.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let kind = [StreamKind::Call, StreamKind::Standing]
            .into_iter()
            .find(|kind| text.starts_with(kind.letter()))?;
        let mut numbers = text[1..].split('.').map(|part| part.parse().ok());
        let stream = StreamId {
            kind,
            epoch: numbers.next()??,
            number: numbers.next()??,
        };
        let id = stream.event(numbers.next()??);
        // Rust reads "+1" and "01" too; ours are written in one way only.
        (numbers.next().is_none() && id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StreamId {
            kind,
            epoch,
            number,
        } = self.stream;
        write!(f, "{}{epoch}.{number}.{}", kind.letter(), self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn written_ids_are_read_back(epoch: u64, number: u64, seq: u64, standing: bool) {
            let kind = if standing { StreamKind::Standing } else { StreamKind::Call };
            let id = StreamId { kind, epoch, number }.event(seq);
            prop_assert_eq!(EventId::parse(&id.to_string()), Some(id));
        }

        #[test]
        fn no_text_is_read_in_two_ways(text in "[cs]?[0-9.+]{0,12}|.{0,12}") {
            if let Some(id) = EventId::parse(&text) {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }

    #[test]
    fn other_text_is_no_id() {
        for text in [
            "", "c", "c1.2", "c1.2.3.4", "x1.2.3", "c+1.2.3", "c01.2.3", "é1.2.3", "c1.2.-3",
        ] {
            assert_eq!(EventId::parse(text), None, "{text}");
        }
    }
}
