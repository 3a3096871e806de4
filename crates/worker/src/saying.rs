//! A message of a session's stream, for the store.

use bytes::Bytes;
use hexagram_core::EventId;
use hexagram_proto::handoff;
use prost::Message;

/// As [`handoff::Said`], before it is encoded.
#[derive(Debug)]
pub(crate) struct Saying<'a> {
    pub(crate) id: EventId,
    pub(crate) message: &'a Bytes,
    pub(crate) last: bool,
}

impl Saying<'_> {
    /// As the store holds it.
    pub(crate) fn encode(&self, said_ms: u64) -> Bytes {
        let said = handoff::Said {
            event_id: self.id.to_string(),
            message: self.message.clone(),
            last: self.last,
            said_ms,
            ..handoff::Said::default()
        };
        said.encode_to_vec().into()
    }
}
