//! What the client of a standing stream has got, and from where another worker
//! is to go on.

use hexagram_proto::link::{ExchangeKind, Open};

use crate::slot::Incoming;

/// How far a stream has come.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    started: bool,
    // Whether a whole message was among it.
    messages: bool,
    in_message: bool,
    // Event id of the last whole message, or of a later position.
    position: String,
    // Event id of the message under way.
    coming: String,
}

impl Delivered {
    /// Nothing yet; the client has what came before this event id.
    pub(crate) fn new(position: &str) -> Self {
        Self {
            position: position.to_owned(),
            ..Self::default()
        }
    }

    /// Whether the client has the stream's head.
    pub(crate) fn started(&self) -> bool {
        self.started
    }

    /// Whether the client waits for the rest of a message.
    pub(crate) fn in_message(&self) -> bool {
        self.in_message
    }

    /// Takes in what goes to the client next; gives whether it is news to it.
    /// The second beginning of a stream is not, unless it moves the position.
    pub(crate) fn is_news(&mut self, incoming: &Incoming) -> bool {
        match incoming {
            Incoming::Start(start) => {
                let moved = !start.event_id.is_empty() && start.event_id != self.position;
                if moved {
                    self.position.clone_from(&start.event_id);
                }
                !std::mem::replace(&mut self.started, true) || moved
            }
            Incoming::Event(piece) => {
                self.started = true;
                self.pass(piece.more, &piece.event_id);
                true
            }
            _ => true,
        }
    }

    fn pass(&mut self, more: bool, event_id: &str) {
        if !event_id.is_empty() {
            event_id.clone_into(&mut self.coming);
        }
        self.in_message = more;
        if more {
            return;
        }
        self.messages = true;
        if !self.coming.is_empty() {
            std::mem::swap(&mut self.position, &mut self.coming);
            self.coming.clear();
        }
    }

    /// Makes the stream's message ask for the rest only.
    pub(crate) fn go_on(&self, open: &mut Open) {
        open.reattach = match open.kind() {
            ExchangeKind::Stream => self.started,
            // The acknowledgement is the first message.
            _ => self.messages,
        };
        self.position.clone_into(&mut open.last_event_id);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::slot::{Piece, Position};

    fn start(event_id: &str) -> Incoming {
        Incoming::Start(Position {
            event_id: event_id.to_owned(),
            retry_ms: 0,
        })
    }

    fn event(event_id: &str, more: bool) -> Incoming {
        Incoming::Event(Piece {
            data: Bytes::new(),
            more,
            last: false,
            head: None,
            event_id: event_id.to_owned(),
        })
    }

    /// From where a GET goes on, and whether as a stream that the client knows.
    fn next(delivered: &Delivered, kind: ExchangeKind) -> (String, bool) {
        let mut open = Open {
            kind: kind.into(),
            ..Open::default()
        };
        delivered.go_on(&mut open);
        (open.last_event_id, open.reattach)
    }

    #[test]
    fn an_unheard_stream_begins_where_its_client_said() {
        let delivered = Delivered::new("7");
        let first = next(&delivered, ExchangeKind::Stream);
        assert_eq!(first, ("7".to_owned(), false));
    }

    #[test]
    fn only_whole_messages_move_the_position() {
        let mut delivered = Delivered::default();
        let position = |delivered: &Delivered| next(delivered, ExchangeKind::Stream);
        assert!(delivered.is_news(&start("1")));
        assert_eq!(position(&delivered), ("1".to_owned(), true));
        assert!(delivered.is_news(&event("2", true)));
        assert!(delivered.in_message());
        assert_eq!(position(&delivered).0, "1");
        assert!(delivered.is_news(&event("", false)));
        assert!(!delivered.in_message());
        assert_eq!(position(&delivered).0, "2");
        // A message that cannot be heard again.
        delivered.is_news(&event("", false));
        assert_eq!(position(&delivered).0, "2");
    }

    #[test]
    fn a_second_beginning_is_no_news_unless_it_moves() {
        let mut delivered = Delivered::default();
        assert!(delivered.is_news(&start("")));
        assert!(!delivered.is_news(&start("")));
        assert!(delivered.is_news(&start("3")));
        assert!(!delivered.is_news(&start("3")));
    }

    #[test]
    fn a_listener_goes_on_once_it_was_acknowledged() {
        let mut delivered = Delivered::default();
        delivered.is_news(&start(""));
        assert!(!next(&delivered, ExchangeKind::Message).1);
        delivered.is_news(&event("", false));
        assert!(next(&delivered, ExchangeKind::Message).1);
    }
}
