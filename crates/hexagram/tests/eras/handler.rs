//! What the upstream of the tests does: a tool for each thing that differs
//! between the eras.

#![expect(deprecated, reason = "MCP 2026-07-28 deprecates what 2025-11-25 has")]

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, CreateMessageRequest,
    CreateMessageRequestParams, InitializeRequestParams, InitializeResult, InputRequest,
    InputRequiredResult, ListResourcesResult, ListToolsResult, LoggingLevel,
    LoggingMessageNotificationParam, PaginatedRequestParams, ProgressNotificationParam,
    ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Resource,
    ResourceContents, ResourceUpdatedNotificationParam, SamplingMessage, ServerCapabilities,
    ServerConfig, SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter, Tool,
    UnsubscribeRequestParams,
};
use rmcp::service::{NotificationContext, Peer, RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::json;
use tokio::sync::broadcast::Receiver;

use crate::fixture::{Change, Shared, Spoken};

/// The one resource.
pub(crate) const WATCHED: &str = "test://watched";
const TOOLS: [&str; 5] = ["echo", "progress", "log", "hang", "ask"];

/// The handler of one session or one modern request.
pub(crate) struct Handler {
    spoken: Spoken,
    shared: Arc<Shared>,
    watched: Arc<Mutex<HashSet<String>>>,
    begun: Mutex<Option<Receiver<Change>>>,
}

impl Handler {
    pub(crate) fn new(spoken: Spoken, shared: Arc<Shared>) -> Self {
        Self {
            spoken,
            shared,
            watched: Arc::default(),
            begun: Mutex::default(),
        }
    }

    /// Runs until its client cancels.
    async fn hang(&self, context: &RequestContext<RoleServer>) -> CallToolResponse {
        self.shared.note("hang");
        context.ct.cancelled().await;
        self.shared.note("hang cancelled");
        said("cancelled")
    }

    fn tell_session(&self, peer: Peer<RoleServer>) {
        let mut changes = self.shared.changes.subscribe();
        let watched = Arc::clone(&self.watched);
        tokio::spawn(async move {
            while let Ok(change) = changes.recv().await {
                let told = match change {
                    Change::Tools => peer.notify_tool_list_changed().await,
                    Change::Resource if watched.lock().contains(WATCHED) => {
                        let update = ResourceUpdatedNotificationParam::new(WATCHED);
                        peer.notify_resource_updated(update).await
                    }
                    Change::Resource | Change::Over => Ok(()),
                };
                if told.is_err() {
                    return;
                }
            }
        });
    }
}

impl ServerHandler for Handler {
    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(self.spoken.versions())
    }

    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(
            ServerCapabilities::builder()
                .enable_tools()
                .enable_tool_list_changed()
                .enable_resources()
                .enable_resources_subscribe()
                .enable_logging()
                .build(),
        )
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        self.shared
            .note(format!("initialize {}", request.client_info.name));
        context.peer.set_peer_info(request.clone());
        self.negotiate_initialize(&request)
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        self.tell_session(context.peer);
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let schema = json!({"type": "object"});
        let schema = Arc::new(schema.as_object().cloned().unwrap_or_default());
        let tools = TOOLS.map(|name| Tool::new(name, "For a test.", Arc::clone(&schema)));
        Ok(ListToolsResult::with_all_items(tools.into()))
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        match &*call.name {
            "echo" => Ok(echo(&call)),
            "progress" => Ok(progress(&context).await),
            "log" => Ok(log(&context).await),
            "hang" => Ok(self.hang(&context).await),
            "ask" if is_modern(&context) => Ok(ask_modern(&call)),
            "ask" => Ok(ask_legacy(&context).await),
            name => Err(ErrorData::invalid_params(format!("no tool {name}"), None)),
        }
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let watched = Resource::new(WATCHED, "watched");
        Ok(ListResourcesResult::with_all_items(vec![watched]))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        match request.uri == WATCHED {
            true => Ok(ReadResourceResult::new(vec![ResourceContents::text("it", WATCHED)]).into()),
            false => {
                let uri = json!({"uri": request.uri});
                Err(ErrorData::resource_not_found("no such resource", Some(uri)))
            }
        }
    }

    async fn set_level(
        &self,
        request: SetLevelRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.shared.note(format!("level {}", json!(request.level)));
        Ok(())
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.shared.note(format!("subscribe {}", request.uri));
        self.watched.lock().insert(request.uri);
        Ok(())
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.shared.note(format!("unsubscribe {}", request.uri));
        self.watched.lock().remove(&request.uri);
        Ok(())
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        // Before the acknowledgement, so that nothing is missed after it.
        *self.begun.lock() = Some(self.shared.changes.subscribe());
        self.shared.note("listen");
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let Some(mut changes) = self.begun.lock().take() else {
            return Ok(());
        };
        loop {
            let change = tokio::select! {
                change = changes.recv() => change,
                () = context.cancelled() => return Ok(()),
            };
            // What the client did not ask for is an error that nobody minds.
            let _ = match change {
                Ok(Change::Tools) => context.sink().notify_tool_list_changed().await,
                Ok(Change::Resource) => context.sink().notify_resource_updated(WATCHED).await,
                Ok(Change::Over) | Err(_) => return Ok(()),
            };
        }
    }
}

fn is_modern(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version() == Some(ProtocolVersion::V_2026_07_28)
}

fn said(text: &str) -> CallToolResponse {
    CallToolResult::success(vec![ContentBlock::text(text)]).into()
}

fn echo(call: &CallToolRequestParams) -> CallToolResponse {
    let message = call.arguments.as_ref().and_then(|all| all.get("message"));
    let message = message.and_then(|message| message.as_str());
    said(&format!("Echo: {}", message.unwrap_or_default()))
}

async fn progress(context: &RequestContext<RoleServer>) -> CallToolResponse {
    for step in [1.0, 2.0] {
        if let Some(token) = context.meta.get_progress_token() {
            let progress = ProgressNotificationParam::new(token, step).with_total(2.0);
            // A client that left needs no progress.
            let _ = context.peer.notify_progress(progress).await;
        }
    }
    said("done")
}

async fn log(context: &RequestContext<RoleServer>) -> CallToolResponse {
    let message = LoggingMessageNotificationParam::new(LoggingLevel::Warning, json!("noted"));
    // As above.
    let _ = context.peer.notify_logging_message(message).await;
    said("done")
}

fn question() -> CreateMessageRequestParams {
    CreateMessageRequestParams::new(vec![SamplingMessage::user_text("Who are you?")], 10)
}

/// Asks the client's model while it runs.
async fn ask_legacy(context: &RequestContext<RoleServer>) -> CallToolResponse {
    match context.peer.create_message(question()).await {
        Ok(answer) => said(&format!("the model is {}", answer.model)),
        Err(error) => CallToolResult::error(vec![ContentBlock::text(error.to_string())]).into(),
    }
}

/// Asks the client's model by its result.
fn ask_modern(call: &CallToolRequestParams) -> CallToolResponse {
    let answer = call.input_responses.as_ref().and_then(|all| all.get("who"));
    let model = answer.and_then(|answer| answer.get("model")?.as_str());
    match model {
        Some(model) => said(&format!("the model is {model}")),
        None => {
            let question = InputRequest::CreateMessage(CreateMessageRequest::new(question()));
            let questions = [("who".to_owned(), question)].into();
            InputRequiredResult::from_input_requests(questions).into()
        }
    }
}
