//! Requests of Hexagram's own to an upstream, beside those of its clients.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Connection, UpstreamError};

/// One request, ready to be sent.
#[derive(Debug)]
pub(crate) struct OwnRequest {
    id: String,
    body: Bytes,
}

/// Tells apart our requests within a process; clients' requests have a dot in
/// their ids, so the two never meet.
static SERIAL: AtomicU64 = AtomicU64::new(0);

/// A raw id that this process has not used before.
pub(crate) fn fresh_id() -> String {
    format!("\"own-{}\"", SERIAL.fetch_add(1, Ordering::Relaxed))
}

impl OwnRequest {
    fn new(method: &str, params: &Value) -> Self {
        let id = fresh_id();
        let body =
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
        Self {
            id,
            body: body.into(),
        }
    }

    /// Sends it and waits for its response.
    ///
    /// # Errors
    /// Why there is none; an error response is [`UpstreamError::Answered`].
    pub(crate) async fn ask(self, connection: &Connection) -> Result<Value, UpstreamError> {
        let answer = connection.ask(&self.id, self.body).await?;
        let mut parsed: Value = serde_json::from_slice(&answer)
            .map_err(|error| UpstreamError::Garbage(error.to_string()))?;
        match parsed.get_mut("result") {
            Some(result) => Ok(result.take()),
            None => Err(UpstreamError::Answered(answer)),
        }
    }
}

/// `tools/list` from `cursor` on; `meta` is the raw `_meta` of a modern client.
pub(crate) fn list_tools(meta: Option<&str>, cursor: Option<&str>) -> OwnRequest {
    let mut params = json!({});
    if let Some(meta) = meta {
        params["_meta"] = serde_json::from_str(meta).unwrap_or_default();
    }
    if let Some(cursor) = cursor {
        params["cursor"] = json!(cursor);
    }
    OwnRequest::new("tools/list", &params)
}

/// `logging/setLevel`.
pub(crate) fn set_level(level: &str) -> OwnRequest {
    OwnRequest::new("logging/setLevel", &json!({"level": level}))
}

/// `resources/subscribe`.
pub(crate) fn subscribe(uri: &str) -> OwnRequest {
    OwnRequest::new("resources/subscribe", &json!({"uri": uri}))
}

/// `resources/unsubscribe`.
pub(crate) fn unsubscribe(uri: &str) -> OwnRequest {
    OwnRequest::new("resources/unsubscribe", &json!({"uri": uri}))
}
