//! Letting a client go in the middle of its call (SEP-1699), for upstreams that
//! have no stream of their own to close: handlers, and servers on stdio.

use rmcp::model::{CustomNotification, ServerNotification};
use rmcp::service::{RequestContext, RoleServer, ServiceError};
use serde_json::json;

/// The notification that asks for it. `params.requestId` names the request.
/// Hexagram acts on it and passes it on to nobody.
pub(crate) const CLOSE_STREAM: &str = "notifications/hexagram.dev/close_stream";

/// The notification that says that a response will take a while, so that the
/// client's stream may begin.
pub(crate) const BEGIN_STREAM: &str = "notifications/hexagram.dev/begin_stream";

/// Closes the stream on which the client waits for this request's response. It
/// comes back for the rest after the time that it was told; meanwhile what the
/// handler says is kept. Clients before 2025-11-25 know nothing of that, and
/// keep their stream.
///
/// # Errors
/// When the session is over.
pub async fn close_stream(context: &RequestContext<RoleServer>) -> Result<(), ServiceError> {
    let params = json!({"requestId": context.id});
    let close = CustomNotification::new(CLOSE_STREAM, Some(params));
    let close = ServerNotification::CustomNotification(close);
    context.peer.send_notification(close).await
}
