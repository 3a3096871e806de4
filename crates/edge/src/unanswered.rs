//! The requests of a message that have no answer yet: whatever is lost, each of
//! them gets one (invariant I10).

use bytes::{Bytes, BytesMut};
use hexagram_mcp::envelope::{Kind, batch, scan};
use hexagram_mcp::error::Problem;

use crate::slot::Piece;

/// Of an answer that comes in pieces this much is put together, in bytes. The
/// request of a longer one may be answered twice if its batch is lost afterwards.
const LONGEST: usize = 1 << 20;

/// Ids of requests, as raw JSON.
#[derive(Debug, Default)]
pub(crate) struct Unanswered {
    ids: Vec<Box<str>>,
    is_batch: bool,
    // The message under way, of a batch.
    partial: BytesMut,
}

impl Unanswered {
    /// Of a message whose request has this id, if it is one.
    pub(crate) fn of(id: Option<&str>) -> Self {
        Self {
            ids: id.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// Of a batch.
    pub(crate) fn of_batch(body: &[u8]) -> Self {
        let elements = batch(body).unwrap_or_default().into_iter();
        let messages = elements.filter_map(|element| scan(element).ok());
        let requests = messages.filter(|message| message.kind == Kind::Request);
        let ids = requests.filter_map(|request| Some(request.id?.as_str().into()));
        Self {
            ids: ids.collect(),
            is_batch: true,
            partial: BytesMut::new(),
        }
    }

    /// Takes in what goes to the client. Of a single request nothing follows its
    /// answer.
    pub(crate) fn pass(&mut self, piece: &Piece) {
        if !self.is_batch || self.partial.len() > LONGEST {
            return;
        }
        self.partial.extend_from_slice(&piece.data);
        if piece.more {
            return;
        }
        let message = self.partial.split();
        if let Ok(message) = scan(&message)
            && message.kind.is_response()
            && let Some(id) = message.id
        {
            self.ids.retain(|waiting| **waiting != *id.as_str());
        }
    }

    /// The only one, of a message that is no batch.
    pub(crate) fn only(&self) -> Option<&str> {
        let first = self.ids.first().filter(|_| !self.is_batch);
        first.map(|id| &**id)
    }

    /// The same problem for each of them, as messages of their own.
    pub(crate) fn answers(&self, problem: &Problem) -> Vec<Bytes> {
        let ids = self.ids.iter();
        ids.map(|id| problem.body(Some(id))).collect()
    }

    /// The same as one body, if it is of a batch.
    pub(crate) fn answer(&self, problem: &Problem) -> Option<Bytes> {
        if !self.is_batch || self.ids.is_empty() {
            return None;
        }
        let answers = self.answers(problem);
        let mut all = BytesMut::from(&b"["[..]);
        for (n, answer) in answers.iter().enumerate() {
            if n > 0 {
                all.extend_from_slice(b",");
            }
            all.extend_from_slice(answer);
        }
        all.extend_from_slice(b"]");
        Some(all.freeze())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const BATCH: &[u8] = br#"[{"jsonrpc":"2.0","id":1,"method":"a"},
        {"jsonrpc":"2.0","method":"n"},{"jsonrpc":"2.0","id":"1","method":"b"},
        {"jsonrpc":"2.0","id":9,"result":{}},7]"#;
    const PROBLEM: Problem = Problem::Internal;

    fn piece(text: &'static str, more: bool) -> Piece {
        Piece {
            data: Bytes::from_static(text.as_bytes()),
            more,
            last: false,
            head: None,
            event_id: String::new(),
        }
    }

    fn ids(unanswered: &Unanswered) -> Vec<Value> {
        let answers = unanswered.answers(&PROBLEM);
        let parse = |answer: &Bytes| serde_json::from_slice::<Value>(answer).expect("JSON");
        answers
            .iter()
            .map(parse)
            .map(|mut it| it["id"].take())
            .collect()
    }

    #[test]
    fn only_requests_wait_for_an_answer() {
        let batch = Unanswered::of_batch(BATCH);
        assert_eq!(ids(&batch), [Value::from(1), Value::from("1")]);
        let one = batch.answer(&PROBLEM).expect("a body");
        let one: Value = serde_json::from_slice(&one).expect("JSON");
        assert_eq!(one[1]["id"], "1");
        assert_eq!(one[1]["error"]["code"], PROBLEM.code());
        assert_eq!(ids(&Unanswered::of(Some("7"))), [Value::from(7)]);
        assert!(Unanswered::of(None).answers(&PROBLEM).is_empty());
        assert!(Unanswered::of(Some("7")).answer(&PROBLEM).is_none());
        assert!(Unanswered::of_batch(b"no batch").answer(&PROBLEM).is_none());
    }

    #[test]
    fn what_is_answered_waits_no_more() {
        let mut batch = Unanswered::of_batch(BATCH);
        batch.pass(&piece(
            r#"{"jsonrpc":"2.0","method":"notifications/x"}"#,
            false,
        ));
        assert_eq!(ids(&batch).len(), 2);
        batch.pass(&piece(r#"{"jsonrpc":"2.0","id":"#, true));
        assert_eq!(ids(&batch).len(), 2);
        batch.pass(&piece(r#""1","result":{}}"#, false));
        assert_eq!(ids(&batch), [Value::from(1)]);
        batch.pass(&piece(
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}"#,
            false,
        ));
        assert!(batch.answers(&PROBLEM).is_empty() && batch.answer(&PROBLEM).is_none());
    }
}
