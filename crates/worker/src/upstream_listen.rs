//! A subscription of ours at a modern upstream.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use hexagram_mcp::envelope::{Kind, scan};
use serde::Deserialize;
use serde_json::json;

use crate::filter::Filter;
use crate::upstream::requests;
use crate::upstream::{Connection, Incoming, UpstreamError};

/// An upstream acknowledges a subscription within this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// A subscription at an upstream; dropped, it ends.
pub(crate) struct UpstreamSubscription {
    /// What the upstream agreed to tell.
    pub(crate) agreed: Filter,
    incoming: Incoming,
    _connection: Arc<Connection>,
}

/// What an upstream says on a subscription.
pub(crate) enum Heard {
    /// A notification.
    Message(Bytes),
    /// It has ended the subscription in its own form.
    Completed,
    /// The subscription broke.
    Lost(UpstreamError),
}

/// Subscribes. `meta` is the raw `_meta` of the request.
///
/// # Errors
/// Why the upstream does not listen; its refusal is [`UpstreamError::Answered`].
pub(crate) async fn open(
    connection: Arc<Connection>,
    meta: &str,
    filter: &Filter,
) -> Result<UpstreamSubscription, UpstreamError> {
    let id = requests::fresh_id();
    let params = format!(r#"{{"_meta":{meta},"notifications":{}}}"#, json!(filter));
    let request = format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"subscriptions/listen","params":{params}}}"#
    );
    let asked = ask(&connection, &id, Bytes::from(request));
    let asked = tokio::time::timeout(PATIENCE, asked).await;
    let (first, incoming) = asked.unwrap_or(Err(UpstreamError::Silent(PATIENCE)))?;
    Ok(UpstreamSubscription {
        agreed: acknowledged(&first)?,
        incoming,
        _connection: connection,
    })
}

/// The first message and what follows it.
async fn ask(
    connection: &Connection,
    id: &str,
    request: Bytes,
) -> Result<(Bytes, Incoming), UpstreamError> {
    let mut incoming = connection.listen(id, request).await?;
    let first = incoming.next().await;
    let closed = || Err(UpstreamError::Broken("it closed without a word".to_owned()));
    Ok((first.unwrap_or_else(closed)?, incoming))
}

impl UpstreamSubscription {
    /// What the upstream says next.
    pub(crate) async fn next(&mut self) -> Heard {
        loop {
            let message = match self.incoming.next().await {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Heard::Lost(error),
                None => return Heard::Lost(UpstreamError::Broken("it closed".to_owned())),
            };
            match scan(&message).map(|envelope| envelope.kind) {
                Ok(Kind::Notification) => return Heard::Message(message),
                Ok(Kind::Response | Kind::ErrorResponse) => return Heard::Completed,
                Ok(Kind::Request) | Err(_) => {}
            }
        }
    }
}

/// The filter of an acknowledgement, which must come first.
fn acknowledged(message: &Bytes) -> Result<Filter, UpstreamError> {
    #[derive(Deserialize)]
    struct Params {
        notifications: Filter,
    }
    let garbage = |why: String| UpstreamError::Garbage(format!("subscriptions/listen: {why}"));
    let envelope = scan(message).map_err(|error| garbage(error.to_string()))?;
    if envelope.kind.is_response() {
        return Err(UpstreamError::Answered(message.clone()));
    }
    if envelope.method.as_deref() != Some("notifications/subscriptions/acknowledged") {
        return Err(garbage(
            "its first message is no acknowledgement".to_owned(),
        ));
    }
    let params = envelope.params.unwrap_or(b"{}");
    serde_json::from_slice(params)
        .map(|Params { notifications }| notifications)
        .map_err(|error| garbage(error.to_string()))
}
