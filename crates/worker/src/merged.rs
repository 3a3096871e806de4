//! Requests that concern all upstreams: lists, and log levels.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use hexagram_core::Era;
use hexagram_mcp::error::Problem;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::across::modernized;
use crate::federation::Federation;
use crate::forward::{Attempt, Forward};
use crate::levels::{bad_level, level};
use crate::raw::RawObject;
use crate::relay::outgoing;
use crate::reply::Reply;
use crate::upstream::pages::{self, Page};
use crate::upstream::{Connection, Upstream, UpstreamError};

/// An upstream that has not given its list by then counts as missing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// JSON-RPC "method not found": a server without such a list.
const NO_SUCH_LIST: i64 = -32601;

/// The list that a server need not have, tasks or no tasks (MCP 2025-11-25).
const TASKS: &str = "tasks";

const TOOLS: &str = "tools";

type Items = Vec<Box<RawValue>>;

impl Forward<'_> {
    /// Asks every upstream for its list and answers with all of them in one
    /// page: many clients never ask for a second.
    pub(crate) async fn merged(&self, member: &'static str, reply: Reply) {
        if self.envelope.cursor.is_some() {
            return reply.refuse(&Problem::InvalidParams {
                detail: "unknown cursor: merged lists have one page".to_owned(),
            });
        }
        let upstreams = self.federation.all();
        let lists = upstreams
            .iter()
            .enumerate()
            .map(|(index, upstream)| async move {
                let _under_way = self.federation.start(index);
                let list = tokio::time::timeout(PATIENCE, self.list(upstream, member)).await;
                list.unwrap_or(Err(UpstreamError::Silent(PATIENCE)))
            });
        let mut items = Items::new();
        let mut missing = Vec::new();
        for (list, upstream) in join_all(lists).await.into_iter().zip(upstreams) {
            match list {
                Ok(list) => items.extend(list),
                Err(error) => missing.push((upstream, self.problem(upstream, &error, false))),
            }
        }
        match &missing[..] {
            [(_, problem), ..] if missing.len() == upstreams.len() => reply.refuse(problem),
            _ => {
                let names: Vec<_> = missing
                    .iter()
                    .map(|(upstream, _)| upstream.name())
                    .collect();
                let message = merged_response(reply.id(), member, &items, &names);
                let message = match self.call.era() {
                    Era::Modern => modernized(&message, self.method),
                    Era::Legacy => message,
                };
                reply.finish(message).await;
            }
        }
    }

    async fn list(&self, upstream: &Arc<Upstream>, member: &str) -> Result<Items, UpstreamError> {
        let attempt = self.attempt(upstream, None).await;
        if member == TASKS && !lists_tasks(upstream) {
            return Ok(Items::new());
        }
        let attempt = &attempt;
        let list = pages::all(|cursor| async move {
            let page = self.page(attempt, cursor.as_deref()).await?;
            Ok(page.map(|mut result| {
                Federation::present_list(upstream, &mut result);
                let (sealer, name) = (&self.host.sealer, upstream.name());
                self.session.tasks.present_result(sealer, name, &mut result);
                Page {
                    items: result.items(member),
                    next: result.text("nextCursor"),
                }
            }))
        });
        let list = list.await?;
        if member == TOOLS {
            upstream.has_tools(list.len());
        }
        Ok(list)
    }

    /// One page; `None` where the server has no such list.
    async fn page(
        &self,
        attempt: &Attempt<'_>,
        cursor: Option<&str>,
    ) -> Result<Option<RawObject>, UpstreamError> {
        let asked = self.asked(attempt.upstream, cursor);
        let kept = asked
            .as_ref()
            .and_then(|asked| self.federation.listed(attempt.upstream, asked));
        if let Some(result) = kept {
            return Ok(RawObject::parse(&result));
        }
        let connection = self.connection(attempt).await?;
        match self.page_on(&connection, attempt, cursor).await {
            Err(UpstreamError::SessionGone) => {
                self.session.forget(attempt.upstream, &connection).await;
                let connection = self.connection(attempt).await?;
                self.page_on(&connection, attempt, cursor).await
            }
            other => other,
        }
    }

    async fn page_on(
        &self,
        connection: &Connection,
        attempt: &Attempt<'_>,
        cursor: Option<&str>,
    ) -> Result<Option<RawObject>, UpstreamError> {
        let id = format!("\"{}\"", self.call.shard.upstream_id());
        let request = self.page_request(attempt, &id, cursor)?;
        let asked = self.asked(attempt.upstream, cursor);
        let answer = connection.ask(&id, request).await?;
        attempt.upstream.responded(&answer);
        if let Some(asked) = asked {
            attempt.upstream.keep_list(asked, &answer);
        }
        result(&answer)
    }

    fn page_request(
        &self,
        attempt: &Attempt<'_>,
        id: &str,
        cursor: Option<&str>,
    ) -> Result<Bytes, UpstreamError> {
        let params = self.envelope.params.and_then(RawObject::parse);
        let mut params = params.unwrap_or_default();
        if attempt.is_across() || self.call.era() == Era::Legacy {
            // Nothing of it concerns the other era, and its progress token is the client's.
            params.remove("_meta");
        }
        if let Some(cursor) = cursor {
            params.set("cursor", cursor);
        }
        let params = to_json(&params)?;
        let method = self.method;
        let request =
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
        match attempt.is_across() && self.call.era() == Era::Legacy {
            true => self.to_modern(request.as_bytes()),
            false => Ok(Bytes::from(request)),
        }
    }

    /// Tells every upstream session of the client; those opened later are told
    /// when they are.
    pub(crate) async fn everywhere(&self, reply: Reply) {
        if level(self.envelope).is_none() {
            return reply.refuse(&bad_level());
        }
        let connections = self.session.open_connections();
        let told = connections.iter().map(|connection| async move {
            let id = self.call.shard.upstream_id();
            let out = outgoing(&id, self.body, self.envelope);
            let told = tokio::time::timeout(PATIENCE, connection.ask(&out.id, out.body)).await;
            told.unwrap_or(Err(UpstreamError::Silent(PATIENCE)))
        });
        for error in join_all(told).await.into_iter().filter_map(Result::err) {
            tracing::debug!(%error, method = self.method, "an upstream was not told");
        }
        let message = crate::reply::response(reply.id(), b"{}");
        reply.finish(message).await;
    }
}

/// Not every server with tasks lists them, and one that does not need not say so
/// in the form of a method that it does not know.
fn lists_tasks(upstream: &Upstream) -> bool {
    let info = upstream.known_info();
    info.is_some_and(|info| info.capabilities.pointer("/tasks/list").is_some())
}

fn result(answer: &[u8]) -> Result<Option<RawObject>, UpstreamError> {
    #[derive(Deserialize)]
    struct Answer {
        result: Option<RawObject>,
        error: Option<Refusal>,
    }
    #[derive(Deserialize)]
    struct Refusal {
        code: i64,
        message: String,
    }
    let garbage = |error: serde_json::Error| UpstreamError::Garbage(error.to_string());
    let answer: Answer = serde_json::from_slice(answer).map_err(garbage)?;
    match answer.error {
        Some(refusal) if refusal.code != NO_SUCH_LIST => Err(UpstreamError::Unreachable(format!(
            "it refused: {}",
            refusal.message
        ))),
        Some(_) => Ok(None),
        None => Ok(answer.result),
    }
}

fn to_json(value: &impl Serialize) -> Result<String, UpstreamError> {
    serde_json::to_string(value).map_err(|error| UpstreamError::Garbage(error.to_string()))
}

fn merged_response(id: &str, member: &str, items: &Items, missing: &[&str]) -> Bytes {
    let items: Vec<_> = items.iter().map(|item| item.get()).collect();
    let mut out = format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"{member}":[{}]"#,
        items.join(",")
    );
    if !missing.is_empty() {
        let missing = serde_json::Value::from(missing);
        out += &format!(r#","_meta":{{"hexagram.dev/unavailable":{missing}}}"#);
    }
    out += "}}";
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_page_or_says_that_there_is_no_such_list() {
        let page = result(br#"{"jsonrpc":"2.0","id":"1","result":{"tools":[{"name":"x"}]}}"#);
        assert_eq!(
            page.ok().flatten().map(|page| page.items("tools").len()),
            Some(1)
        );
        let missing = br#"{"id":"1","error":{"code":-32601,"message":"no such method"}}"#;
        assert!(matches!(result(missing), Ok(None)));
    }

    #[test]
    fn a_refusal_and_garbage_are_told_apart() {
        let refused = result(br#"{"id":"1","error":{"code":-32000,"message":"not today"}}"#);
        let Err(UpstreamError::Unreachable(reason)) = refused else {
            panic!("it was refused");
        };
        assert!(reason.contains("not today"), "{reason}");
        for garbage in [
            "",
            "[]",
            r#"{"result":[1]}"#,
            r#"{"error":{"message":"no code"}}"#,
        ] {
            let read = result(garbage.as_bytes());
            assert!(matches!(read, Err(UpstreamError::Garbage(_))), "{garbage}");
        }
    }

    #[test]
    fn a_merged_list_names_who_is_missing() {
        let items: Items = vec![RawValue::from_string(r#"{"n":1.10}"#.to_owned()).expect("JSON")];
        assert_eq!(
            merged_response("7", "tools", &items, &[]),
            r#"{"jsonrpc":"2.0","id":7,"result":{"tools":[{"n":1.10}]}}"#
        );
        let missing = merged_response("7", "tools", &Items::new(), &["docs"]);
        assert_eq!(
            missing,
            r#"{"jsonrpc":"2.0","id":7,"result":{"tools":[],"_meta":{"hexagram.dev/unavailable":["docs"]}}}"#
        );
    }
}
