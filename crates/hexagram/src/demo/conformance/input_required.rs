//! Tools that need one round of answers: their first result is the question.

use rmcp::handler::server::tool::InputResponses;
use rmcp::model::{
    CallToolResponse, CallToolResult, ClientCapabilities, ContentBlock, InputRequests,
    InputRequiredResult,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, tool, tool_router};

use super::questions::{ask, field, model, roots};
use super::{Conformance, answers};

#[tool_router(router = input_required_tools, vis = "pub(super)")]
impl Conformance {
    /// Asks for a name and greets.
    #[tool]
    fn test_input_required_result_elicitation(
        &self,
        InputResponses(given): InputResponses,
    ) -> CallToolResponse {
        match answers::text(given.as_ref(), "user_name", "name") {
            Some(name) => done(format!("Hello, {name}!")),
            None => ask([("user_name", field("What is your name?", "name", "string"))]).into(),
        }
    }

    /// Asks the client's model.
    #[tool]
    fn test_input_required_result_sampling(
        &self,
        InputResponses(given): InputResponses,
    ) -> CallToolResponse {
        match answers::said(given.as_ref(), "capital_question") {
            Some(text) => done(format!("The model said: {text}")),
            None => ask([("capital_question", model("What is the capital of France?"))]).into(),
        }
    }

    /// Asks for the client's roots.
    #[tool]
    fn test_input_required_result_list_roots(
        &self,
        InputResponses(given): InputResponses,
    ) -> CallToolResponse {
        match answers::roots(given.as_ref(), "client_roots") {
            Some(found) => done(format!("Roots: {}", found.join(", "))),
            None => ask([("client_roots", roots())]).into(),
        }
    }

    /// Asks what the client says it can answer.
    #[tool]
    fn test_input_required_result_capabilities(
        &self,
        InputResponses(given): InputResponses,
        context: RequestContext<RoleServer>,
    ) -> CallToolResponse {
        let questions = answerable(&context.client_capabilities().unwrap_or_default());
        match (given, questions.is_empty()) {
            (Some(given), _) => done(format!("{} answers", given.len())),
            (None, true) => done("the client can be asked nothing"),
            (None, false) => InputRequiredResult::from_input_requests(questions).into(),
        }
    }

    /// Asks, whatever the client can answer.
    #[tool]
    fn test_streaming_elicitation(
        &self,
        InputResponses(given): InputResponses,
    ) -> CallToolResponse {
        match answers::text(given.as_ref(), "value", "value") {
            Some(value) => done(format!("The value is {value}")),
            None => ask([("value", field("Which value?", "value", "string"))]).into(),
        }
    }

    /// Needs a client that can be asked for its model's answer.
    #[tool]
    fn test_missing_capability(
        &self,
        context: RequestContext<RoleServer>,
    ) -> Result<String, ErrorData> {
        let client = context.client_capabilities().unwrap_or_default();
        match client.sampling {
            Some(_) => Ok("the client can sample".to_owned()),
            None => Err(ErrorData::missing_required_client_capability(sampling())),
        }
    }
}

/// A finished call that says `text`.
pub(super) fn done(text: impl Into<String>) -> CallToolResponse {
    CallToolResult::success(vec![ContentBlock::text(text)]).into()
}

/// A question of each kind that such a client can answer.
fn answerable(client: &ClientCapabilities) -> InputRequests {
    let questions = [
        client
            .elicitation
            .is_some()
            .then(|| ("user_name", field("What is your name?", "name", "string"))),
        client
            .sampling
            .is_some()
            .then(|| ("greeting", model("Generate a greeting"))),
        client.roots.is_some().then(|| ("client_roots", roots())),
    ];
    let questions = questions.into_iter().flatten();
    questions.map(|(key, ask)| (key.to_owned(), ask)).collect()
}

fn sampling() -> ClientCapabilities {
    ClientCapabilities::builder().enable_sampling().build()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is a test's way to fail")]

    use super::*;
    use serde_json::json;

    #[test]
    fn asks_only_what_the_client_can_answer() {
        let keys = |capabilities| {
            let client = serde_json::from_value(capabilities).unwrap();
            answerable(&client).into_keys().collect::<Vec<_>>()
        };
        assert_eq!(keys(json!({"sampling": {}})), ["greeting"]);
        let all = json!({"sampling": {}, "elicitation": {}, "roots": {}});
        assert_eq!(keys(all), ["client_roots", "greeting", "user_name"]);
        assert!(keys(json!({})).is_empty());
    }
}
