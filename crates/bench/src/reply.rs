//! Reading a reply: JSON or an event stream, checked without building a tree.

use std::borrow::Cow;

use http::StatusCode;
use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::failure::{Failure, Said};
use crate::sse::events;

/// A reply as it came, read to its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reply<'a> {
    pub(crate) status: StatusCode,
    /// `Content-Type: text/event-stream`.
    pub(crate) is_stream: bool,
    pub(crate) body: &'a [u8],
}

/// The members of a JSON-RPC answer that matter here.
#[derive(Debug, Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<RpcError<'a>>,
}

#[derive(Debug, Deserialize)]
struct RpcError<'a> {
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// The member of an error's data that some servers give to machines.
#[derive(Debug, Deserialize)]
struct Reason {
    reason: Option<String>,
}

impl RpcError<'_> {
    /// Data may be anything; only an object can have a reason.
    fn reason(&self) -> Option<String> {
        let reason = serde_json::from_str::<Reason>(self.data?.get());
        reason.ok()?.reason
    }
}

impl Reply<'_> {
    /// Checks that this answers call `id` and carries the text that was sent.
    pub(crate) fn check_call(&self, id: u64, text: &Finder<'_>) -> Result<(), Failure> {
        self.with_result(id, |result| {
            text.find(result.as_bytes())
                .map(drop)
                .ok_or_else(|| Failure::WrongText(Said::new(result)))
        })
    }

    /// Gives the raw result of call `id` to `use_result`; anything else is a failure.
    pub(crate) fn with_result<T>(
        &self,
        id: u64,
        use_result: impl FnOnce(&str) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let message = self.message();
        let answer = message.as_deref().and_then(parse_answer);
        let error = answer.as_ref().and_then(|answer| answer.error.as_ref());
        if self.status != StatusCode::OK || error.is_some() {
            return Err(self.refused(error));
        }
        let answer = answer.ok_or(Failure::NoAnswer)?;
        let is_ours = answer.id.is_some_and(|raw| raw.get().parse() == Ok(id));
        let result = answer.result.ok_or(Failure::NoAnswer)?;
        if is_ours {
            use_result(result.get())
        } else {
            Err(Failure::WrongId)
        }
    }

    /// Whether an answer is in it, to whatever request.
    pub(crate) fn has_answer(&self) -> bool {
        let message = self.message();
        message.is_some_and(|message| parse_answer(&message).is_some())
    }

    /// Why the server refused.
    pub(crate) fn refusal(&self) -> Failure {
        let message = self.message();
        let answer = message.as_deref().and_then(parse_answer);
        self.refused(answer.as_ref().and_then(|answer| answer.error.as_ref()))
    }

    fn refused(&self, error: Option<&RpcError<'_>>) -> Failure {
        Failure::Refused {
            status: self.status.as_u16(),
            code: error.map(|error| error.code),
            reason: error.and_then(RpcError::reason),
            said: match error {
                Some(error) => Said::new(&error.message),
                None => Said::new(&String::from_utf8_lossy(self.body)),
            },
        }
    }

    /// The message that answers: the body, or the first event that is an answer.
    fn message(&self) -> Option<Cow<'_, [u8]>> {
        if !self.is_stream {
            return Some(Cow::Borrowed(self.body));
        }
        events(self.body).find(|event| parse_answer(event).is_some())
    }
}

/// A result or an error; requests and notifications are none.
fn parse_answer(message: &[u8]) -> Option<Answer<'_>> {
    let answer: Answer<'_> = serde_json::from_slice(message).ok()?;
    (answer.result.is_some() || answer.error.is_some()).then_some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"text":"hello"}]}}"#;

    fn check(status: u16, is_stream: bool, body: &str) -> Result<(), Failure> {
        let reply = Reply {
            status: StatusCode::from_u16(status).expect("a status"),
            is_stream,
            body: body.as_bytes(),
        };
        reply.check_call(7, &Finder::new("hello"))
    }

    #[test]
    fn a_json_answer_with_our_id_and_text_passes() {
        assert_eq!(check(200, false, OK), Ok(()));
    }

    #[test]
    fn wrong_answers_are_told_apart() {
        let wrong_id = OK.replace(":7", ":8");
        let wrong_text = OK.replace("hello", "hullo");
        assert_eq!(check(200, false, &wrong_id), Err(Failure::WrongId));
        assert_eq!(
            check(200, false, &OK.replace(":7", ":\"7\"")),
            Err(Failure::WrongId)
        );
        let refused = check(200, false, &wrong_text);
        assert_eq!(refused, Err(Failure::WrongText(Said::default())));
        assert!(refused.is_err_and(|failure| failure.to_string().contains("hullo")));
        assert_eq!(check(200, false, "{}"), Err(Failure::NoAnswer));
        assert_eq!(check(200, false, "<html>"), Err(Failure::NoAnswer));
        assert_eq!(check(200, true, ": nothing\n\n"), Err(Failure::NoAnswer));
    }

    #[test]
    fn refusals_keep_status_and_code() {
        let body = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32011,"message":"moving"}}"#;
        let refused = |status, code| {
            Err(Failure::Refused {
                status,
                code,
                reason: None,
                said: Said::default(),
            })
        };
        assert_eq!(check(503, false, body), refused(503, Some(-32011)));
        assert_eq!(check(200, false, body), refused(200, Some(-32011)));
        assert_eq!(check(502, false, "bad gateway"), refused(502, None));
        assert_eq!(check(202, false, ""), refused(202, None));
    }

    #[test]
    fn refusals_show_what_the_server_said() {
        let said = |status, body| check(status, false, body).expect_err("refused").to_string();
        let body = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32011,"message":"moving; wait"}}"#;
        assert_eq!(said(503, body), "HTTP 503, JSON-RPC -32011: moving; wait");
        assert_eq!(said(502, "bad gateway"), "HTTP 502: bad gateway");
    }

    #[test]
    fn a_reason_is_part_of_the_kind_where_there_is_one() {
        let with = |data| {
            let error = format!(r#"{{"code":-32011,"message":"later","data":{data}}}"#);
            let body = format!(r#"{{"jsonrpc":"2.0","id":7,"error":{error}}}"#);
            check(503, false, &body).expect_err("refused").to_string()
        };
        let named = with(r#"{"reason":"moving","retryAfterMs":5}"#);
        assert_eq!(named, "HTTP 503, JSON-RPC -32011 moving: later");
        for other in ["\"text\"", "null", "[1]", r#"{"reason":7}"#] {
            assert_eq!(with(other), "HTTP 503, JSON-RPC -32011: later");
        }
    }

    #[test]
    fn a_stream_is_searched_for_the_answer() {
        let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#;
        let split = OK.replace(",\"result\"", ",\r\ndata: \"result\"");
        let stream = format!(
            ": hi\r\nid: 1\r\ndata:\r\n\r\ndata: {progress}\r\n\r\nevent: message\r\ndata: {split}\r\n\r\n"
        );
        assert_eq!(check(200, true, &stream), Ok(()));
        assert_eq!(
            check(200, true, &format!("data:{OK}")),
            Ok(()),
            "cut at its end"
        );
    }
}
