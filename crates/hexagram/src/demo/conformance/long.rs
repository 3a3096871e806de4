//! Tools that say something while they run.

use std::time::Duration;

use hexagram_worker::close_stream;
use rmcp::model::{LoggingLevel, LoggingMessageNotificationParam, ProgressNotificationParam};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, tool, tool_router};
use serde_json::json;

use super::Conformance;

/// Between two messages, so that they come one by one.
const PAUSE: Duration = Duration::from_millis(50);

#[tool_router(router = long_tools, vis = "pub(super)")]
impl Conformance {
    /// Logs three times before it answers.
    #[tool]
    async fn test_tool_with_logging(&self, context: RequestContext<RoleServer>) -> String {
        log(&context, LoggingLevel::Info, "Tool execution started").await;
        tokio::time::sleep(PAUSE).await;
        log(&context, LoggingLevel::Info, "Tool processing data").await;
        tokio::time::sleep(PAUSE).await;
        log(&context, LoggingLevel::Info, "Tool execution completed").await;
        "logged three times".to_owned()
    }

    /// Logs if the request asks for it.
    #[tool]
    async fn test_logging_tool(&self, context: RequestContext<RoleServer>) -> String {
        let Some(level) = context.meta.log_level() else {
            return "no log level, nothing logged".to_owned();
        };
        log(&context, level, "the request asked for this").await;
        "logged".to_owned()
    }

    /// Reports its progress.
    #[tool]
    async fn test_tool_with_progress(&self, context: RequestContext<RoleServer>) -> String {
        for percent in [0.0, 50.0, 100.0] {
            report(&context, percent).await;
            tokio::time::sleep(PAUSE).await;
        }
        "done".to_owned()
    }

    /// Lets its client go in the middle; that comes back for the answer.
    #[tool]
    async fn test_reconnection(&self, context: RequestContext<RoleServer>) -> String {
        // A session that is over has no stream to close.
        let _ = close_stream(&context).await;
        tokio::time::sleep(PAUSE * 2).await;
        "Reconnection test completed".to_owned()
    }
}

async fn log(context: &RequestContext<RoleServer>, level: LoggingLevel, text: &str) {
    let message = LoggingMessageNotificationParam::new(level, json!(text));
    // A client that left needs no log.
    let _ = context.peer.notify_logging_message(message).await;
}

async fn report(context: &RequestContext<RoleServer>, percent: f64) {
    let Some(token) = context.meta.get_progress_token() else {
        return;
    };
    let progress = ProgressNotificationParam::new(token, percent).with_total(100.0);
    // As above.
    let _ = context.peer.notify_progress(progress).await;
}
