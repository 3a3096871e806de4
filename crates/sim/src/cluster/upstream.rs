//! An MCP server that is compiled into the workers, and counts what it runs in a book
//! that outlives them.

#![allow(deprecated, reason = "the log levels of the legacy era")]

use std::sync::Arc;
use std::time::Duration;

use hexagram_worker::{Upstream, UpstreamName, handler};
use parking_lot::Mutex;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ListToolsResult,
    LoggingLevel, LoggingMessageNotificationParam, PaginatedRequestParams, ServerCapabilities,
    ServerConfig, SetLevelRequestParams, Tool, ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use super::stage::Here;

/// The tool that must not run twice: it writes its argument `id` into the book. Both
/// take `ms` milliseconds.
pub(super) const ONCE: &str = "once";
/// The tool that declares that it may.
pub(super) const AGAIN: &str = "again";

/// The server, as a worker has it.
///
/// # Errors
/// Never: its name is one.
pub(super) fn counter(here: &Here) -> Result<Upstream, Box<dyn std::error::Error>> {
    let name: UpstreamName = "counter".parse()?;
    let here = here.clone();
    let make = move || Counter {
        here: here.clone(),
        level: Mutex::new(LoggingLevel::Debug),
    };
    Ok(Upstream::from_handler(name, handler(make)))
}

/// One session's server.
struct Counter {
    here: Here,
    level: Mutex<LoggingLevel>,
}

impl Counter {
    async fn log(&self, level: LoggingLevel, context: &RequestContext<RoleServer>) {
        if urgency(level) < urgency(*self.level.lock()) {
            return;
        }
        let message = LoggingMessageNotificationParam::new(level, json!("counted"));
        // A client that left hears nothing.
        let _ = context.peer.notify_logging_message(message).await;
    }
}

/// Of the levels that are used here.
fn urgency(level: LoggingLevel) -> u8 {
    match level {
        LoggingLevel::Debug => 0,
        LoggingLevel::Info => 1,
        LoggingLevel::Warning => 2,
        _ => 3,
    }
}

impl ServerHandler for Counter {
    fn get_info(&self) -> ServerConfig {
        let able = ServerCapabilities::builder()
            .enable_tools()
            .enable_logging();
        ServerConfig::new(able.build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let schema: Map<String, Value> = Map::from_iter([("type".to_owned(), json!("object"))]);
        let schema = Arc::new(schema);
        let once = Tool::new(ONCE, "Counts.", Arc::clone(&schema));
        let again = Tool::new(AGAIN, "Does not.", schema)
            .with_annotations(ToolAnnotations::new().idempotent(true));
        Ok(ListToolsResult::with_all_items(vec![once, again]))
    }

    async fn set_level(
        &self,
        request: SetLevelRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        *self.level.lock() = request.level;
        Ok(())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let id = arguments.get("id").and_then(Value::as_str);
        let id = id.ok_or_else(|| ErrorData::invalid_params("id is missing", None))?;
        if request.name == ONCE {
            self.here.stage.ran(id, &self.here);
        }
        for level in [
            LoggingLevel::Info,
            LoggingLevel::Warning,
            LoggingLevel::Error,
        ] {
            self.log(level, &context).await;
        }
        let ms = arguments.get("ms").and_then(Value::as_u64).unwrap_or(0);
        sleep(Duration::from_millis(ms)).await;
        Ok(CallToolResult::success(vec![ContentBlock::text(id)]).into())
    }
}
