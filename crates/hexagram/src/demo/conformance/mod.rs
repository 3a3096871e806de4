//! The server that the MCP conformance suite asks for: each tool, resource and
//! prompt is one that a scenario calls by name. An rmcp handler, made anew for
//! each session and each modern request, so what lasts is in [`Shared`].

#![expect(
    deprecated,
    reason = "the suite asks a server for logging, sampling and roots, which MCP 2026-07-28 deprecates"
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "rmcp hands a tool what it needs by value"
)]

mod answers;
mod asking;
mod content;
mod input_required;
mod listening;
mod long;
mod prompts;
mod questions;
mod resources;
mod rounds;
mod schemas;
mod skills;
mod tasks;
mod triggers;

use std::sync::Arc;

use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::model::{
    CancelTaskParams, CompleteRequestParams, CompleteResult, CompletionInfo,
    GetPromptRequestParams, GetPromptResponse, GetSkillRequestParams, GetSkillResult,
    GetTaskParams, GetTaskResult, Implementation, ListPromptsResult, ListResourceTemplatesResult,
    ListResourcesResult, ListSkillsResult, PaginatedRequestParams,
    ReadResourceDirectoryRequestParams, ReadResourceDirectoryResult, ReadResourceRequestParams,
    ReadResourceResponse, ServerCapabilities, ServerConfig, SetLevelRequestParams,
    SubscribeRequestParams, SubscriptionFilter, UnsubscribeRequestParams, UpdateTaskParams,
};
use rmcp::service::{NotificationContext, RequestContext, SubscriptionContext};
use rmcp::task_manager::TaskManager;
use rmcp::{ErrorData, RoleServer, ServerHandler, tool_handler};

use hexagram_worker::Changes;
use listening::{Listening, Watched};

/// What outlives a handler: the same for all of this process.
struct Shared {
    tools: ToolRouter<Conformance>,
    tasks: TaskManager,
    changes: Changes,
}

/// The handler of one session or one modern request.
pub(super) struct Conformance {
    shared: Arc<Shared>,
    listening: Listening,
    watched: Watched,
}

/// Makes handlers that share tasks and changes.
pub(super) fn factory(changes: Changes) -> impl Fn() -> Conformance + Send + Sync + 'static {
    let shared = Arc::new(Shared {
        tools: Conformance::tools(),
        tasks: TaskManager::new(),
        changes,
    });
    move || Conformance {
        shared: Arc::clone(&shared),
        listening: Listening::default(),
        watched: Watched::default(),
    }
}

impl Conformance {
    fn tools() -> ToolRouter<Self> {
        Self::content_tools()
            + Self::long_tools()
            + Self::schema_tools()
            + Self::asking_tools()
            + Self::input_required_tools()
            + Self::round_tools()
            + Self::task_tools()
            + Self::trigger_tools()
    }
}

#[tool_handler(router = self.shared.tools)]
impl ServerHandler for Conformance {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_resources()
            .enable_resources_list_changed()
            .enable_resources_subscribe()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_completions()
            .enable_logging()
            .enable_tasks()
            .enable_skills_with_directory_read()
            .build();
        let version = env!("CARGO_PKG_VERSION");
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("hexagram-conformance", version))
            .with_instructions("For the MCP conformance suite: each tool is one that it calls.")
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(resources::list()))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let templates = vec![resources::template()];
        Ok(ListResourceTemplatesResult::with_all_items(templates))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        resources::read(&request.uri)
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(prompts::list()))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        prompts::get(request)
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let typed = request.argument.value;
        let values = ["paris", "park", "party"].map(|word| format!("{typed}{word}"));
        let info = CompletionInfo::with_all_values(values.into());
        Ok(CompleteResult::new(
            info.map_err(|error| ErrorData::internal_error(error, None))?,
        ))
    }

    /// Any level will do: a tool that logs does so at the level asked for.
    async fn set_level(
        &self,
        _: SetLevelRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        self.tell_session(context.peer);
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.watched.add(request.uri);
        Ok(())
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.watched.remove(&request.uri);
        Ok(())
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        self.listening.begin(&self.shared.changes);
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        self.tell_subscription(&context).await;
        Ok(())
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        let task = self.shared.tasks.get_task(&request.task_id)?;
        Ok(GetTaskResult::new(task))
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let UpdateTaskParams {
            task_id,
            input_responses,
            ..
        } = request;
        self.shared.tasks.update_task(&task_id, input_responses)
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.shared.tasks.cancel_task(&request.task_id)
    }

    async fn list_skills(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListSkillsResult, ErrorData> {
        Ok(ListSkillsResult::with_all_items(vec![skills::skill()]))
    }

    async fn get_skill(
        &self,
        request: GetSkillRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetSkillResult, ErrorData> {
        skills::get(&request.uri).map(GetSkillResult::new)
    }

    async fn read_resource_directory(
        &self,
        request: ReadResourceDirectoryRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceDirectoryResult, ErrorData> {
        let children = skills::directory(&request.uri)?;
        Ok(ReadResourceDirectoryResult::with_all_items(children))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_says_what_it_does() {
        let tools = Conformance::tools().list_all();
        assert!(!tools.is_empty());
        for tool in tools {
            assert!(tool.description.is_some(), "{}", tool.name);
        }
    }

    #[test]
    fn handlers_share_tasks_and_changes_but_no_subscriptions() {
        let make = factory(Changes::new());
        let (one, other) = (make(), make());
        assert!(Arc::ptr_eq(&one.shared, &other.shared));
        one.watched.add("test://a".to_owned());
        assert!(one.watched.contains("test://a"));
        assert!(!other.watched.contains("test://a"));
        one.watched.remove("test://a");
        assert!(!one.watched.contains("test://a"));
    }
}
