//! Tools that go on after their call was answered: the client asks for the
//! task until it is done.

use std::future::Future;
use std::time::Duration;

use rmcp::handler::server::tool::InputResponses;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{
    CallToolResponse, CallToolResult, ClientCapabilities, ContentBlock, CreateTaskResult,
};
use rmcp::schemars::{self, JsonSchema};
use rmcp::service::RequestContext;
use rmcp::task_manager::{TaskContext, TaskExit, TaskOptions};
use rmcp::{ErrorData, RoleServer, tool, tool_router};
use serde::Deserialize;

use super::questions::{ask, field};
use super::{Conformance, answers};

/// What a job takes that need not be slow.
const SHORT: Duration = Duration::from_millis(200);
/// Longest time to compute, in seconds.
const LONGEST: u64 = 600;

/// How a task ends.
type Exit = Result<CallToolResult, TaskExit>;

#[derive(Deserialize, JsonSchema)]
struct Compute {
    /// Seconds it takes, up to 600.
    seconds: u64,
    /// What to call it.
    #[serde(default)]
    label: String,
}

#[derive(Deserialize, JsonSchema)]
struct Delete {
    /// The file to ask about; nothing is deleted either way.
    filename: String,
}

#[tool_router(router = task_tools, vis = "pub(super)")]
impl Conformance {
    /// Takes its time.
    #[tool]
    async fn slow_compute(
        &self,
        Parameters(Compute { seconds, label }): Parameters<Compute>,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if seconds > LONGEST {
            let limit = format!("seconds: up to {LONGEST}");
            return Err(ErrorData::invalid_params(limit, None));
        }
        let work = async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Ok(said(format!("computed {label} for {seconds} s")))
        };
        self.task_or_wait(&context, work).await
    }

    /// Fails as a request does.
    #[tool]
    async fn protocol_error_job(
        &self,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let work = async {
            tokio::time::sleep(SHORT).await;
            Err(ErrorData::internal_error("the job broke", None))
        };
        self.task_or_wait(&context, work).await
    }

    /// Fails as a tool does.
    #[tool]
    fn failing_job(
        &self,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        require_tasks(&context)?;
        let failed = CallToolResult::error(vec![ContentBlock::text("the job failed")]);
        Ok(self.start(|_| async {
            tokio::time::sleep(SHORT).await;
            Ok(failed)
        }))
    }

    /// Asks whether it may.
    #[tool]
    fn confirm_delete(
        &self,
        Parameters(Delete { filename }): Parameters<Delete>,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        require_tasks(&context)?;
        Ok(self.start(|task| async move {
            let question = field(format!("Delete {filename}?"), "confirm", "boolean");
            let answer = task.request_input("confirm", question).await?;
            let confirmed = answers::entered(&answer, "confirm");
            let confirmed = confirmed.is_some_and(|value| value == true);
            Ok(said(format!("{filename}: confirmed = {confirmed}")))
        }))
    }

    /// Asks two things at once.
    #[tool]
    fn multi_input(
        &self,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        require_tasks(&context)?;
        Ok(self.start(|task| async move {
            let first = task.request_input("first", field("The first value?", "value", "string"));
            let second =
                task.request_input("second", field("The second value?", "value", "string"));
            let (first, second) = tokio::try_join!(first, second)?;
            Ok(said(format!("{first} {second}")))
        }))
    }

    /// Asks for a name before it goes on as a task.
    #[tool]
    fn test_tool_with_task(
        &self,
        InputResponses(given): InputResponses,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        require_tasks(&context)?;
        let Some(name) = answers::text(given.as_ref(), "user_name", "name") else {
            let question = field("What is your name?", "name", "string");
            return Ok(ask([("user_name", question)]).into());
        };
        let greeting = said(format!("Hello, {name}!"));
        Ok(self.start(|_| async {
            tokio::time::sleep(SHORT).await;
            Ok(greeting)
        }))
    }

    /// Goes on as a task where the client knows tasks, else answers when done.
    async fn task_or_wait(
        &self,
        context: &RequestContext<RoleServer>,
        work: impl Future<Output = Result<CallToolResult, ErrorData>> + Send + 'static,
    ) -> Result<CallToolResponse, ErrorData> {
        if require_tasks(context).is_err() {
            return work.await.map(CallToolResponse::from);
        }
        Ok(self.start(|_| async { work.await.map_err(TaskExit::Error) }))
    }

    /// Starts a task, which ends early when the client cancels it.
    fn start<F>(&self, work: impl FnOnce(TaskContext) -> F) -> CallToolResponse
    where
        F: Future<Output = Exit> + Send + 'static,
    {
        let task = self.shared.tasks.spawn(TaskOptions::default(), |task| {
            let work = work(task.clone());
            Box::pin(async move {
                tokio::select! {
                    () = task.cancelled() => Err(TaskExit::Cancelled),
                    done = work => done,
                }
            })
        });
        CreateTaskResult::new(task).into()
    }
}

fn require_tasks(context: &RequestContext<RoleServer>) -> Result<(), ErrorData> {
    let client = context.client_capabilities().unwrap_or_default();
    if client.supports_tasks() {
        return Ok(());
    }
    let needed = ClientCapabilities::builder().enable_tasks().build();
    Err(ErrorData::missing_required_client_capability(needed))
}

fn said(text: String) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}
