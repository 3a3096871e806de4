//! A small server to look around with, written as any Rust team would write
//! one: an rmcp `ServerHandler` that knows nothing of Hexagram.

use std::time::Duration;

use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{
    CallToolResult, ContentBlock, GetPromptRequestParams, GetPromptResponse, GetPromptResult,
    Implementation, ListPromptsResult, ListResourcesResult, PaginatedRequestParams,
    ProgressNotificationParam, Prompt, PromptMessage, ReadResourceRequestParams,
    ReadResourceResponse, ReadResourceResult, Resource, ResourceContents, Role, ServerCapabilities,
    ServerConfig,
};
use rmcp::schemars::{self, JsonSchema};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler, tool, tool_handler, tool_router};
use serde::Deserialize;

const README_URI: &str = "hexagram://tour/readme";
const README: &str = "This is Hexagram's built-in demo server. Your message was hashed to one of \
64 shards and answered by the worker that owns it. Put your own servers behind Hexagram with \
--upstream NAME=URL.";
const PROMPT: &str = "explain-hexagram";

/// The handler; it keeps no state.
pub(crate) struct Tour;

#[derive(Deserialize, JsonSchema)]
struct Echo {
    /// What to send back.
    message: String,
}

#[derive(Deserialize, JsonSchema)]
struct Countdown {
    /// Steps to count, 1 to 100.
    steps: u8,
    /// Milliseconds a step takes, up to 10,000.
    #[serde(default)]
    step_ms: u16,
}

#[tool_router]
impl Tour {
    /// Answers with the message.
    #[tool(annotations(read_only_hint = true))]
    fn echo(&self, Parameters(echo): Parameters<Echo>) -> String {
        echo.message
    }

    /// Counts down slowly and reports its progress.
    #[tool(annotations(read_only_hint = true))]
    async fn countdown(
        &self,
        Parameters(countdown): Parameters<Countdown>,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        if !(1..=100).contains(&countdown.steps) || countdown.step_ms > 10_000 {
            return Err(ErrorData::invalid_params(
                "steps: 1 to 100, step_ms: up to 10000",
                None,
            ));
        }
        for step in 1..=countdown.steps {
            tokio::time::sleep(Duration::from_millis(countdown.step_ms.into())).await;
            report(&context, step, countdown.steps).await;
        }
        let text = format!("counted {} steps", countdown.steps);
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]))
    }
}

async fn report(context: &RequestContext<RoleServer>, step: u8, steps: u8) {
    let Some(token) = context.meta.get_progress_token() else {
        return;
    };
    let progress =
        ProgressNotificationParam::new(token, f64::from(step)).with_total(f64::from(steps));
    // A client that left needs no progress.
    let _ = context.peer.notify_progress(progress).await;
}

#[tool_handler]
impl ServerHandler for Tour {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_resources()
            .enable_prompts()
            .build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new(
                "hexagram-tour",
                env!("CARGO_PKG_VERSION"),
            ))
            .with_instructions("A demo: call echo or countdown, read the readme, get the prompt.")
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(vec![Resource::new(
            README_URI, "readme",
        )]))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        if request.uri != README_URI {
            return Err(ErrorData::resource_not_found(
                format!("no resource {}", request.uri),
                None,
            ));
        }
        Ok(ReadResourceResult::new(vec![ResourceContents::text(README, README_URI)]).into())
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let prompt = Prompt::new(PROMPT, Some("Asks what Hexagram does."), None);
        Ok(ListPromptsResult::with_all_items(vec![prompt]))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        if request.name != PROMPT {
            return Err(ErrorData::invalid_params(
                format!("no prompt {}", request.name),
                None,
            ));
        }
        let text = format!("Explain in two sentences: {README}");
        Ok(GetPromptResult::new(vec![PromptMessage::new_text(Role::User, text)]).into())
    }
}
