//! What a server can ask a client: its user, its model, its roots.

use rmcp::model::{
    CallToolResponse, CreateMessageRequest, CreateMessageRequestParams, ElicitRequest,
    ElicitRequestParams, InputRequest, InputRequiredResult, ListRootsRequest, SamplingMessage,
};
use serde_json::{Value, json};

/// Tokens that the model's answer may have.
const MAX_TOKENS: u32 = 100;

/// A form for the client's user with this JSON schema.
///
/// # Panics
/// When the schema is none that MCP allows for a form.
pub(super) fn form(message: impl Into<String>, schema: Value) -> ElicitRequestParams {
    ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: message.into(),
        requested_schema: serde_json::from_value(schema).expect("a literal schema"),
    }
}

/// The question for the client's model.
pub(super) fn prompt(text: impl Into<String>) -> CreateMessageRequestParams {
    CreateMessageRequestParams::new(vec![SamplingMessage::user_text(text)], MAX_TOKENS)
}

/// Asks the client's user to fill in one field.
pub(super) fn field(message: impl Into<String>, name: &str, kind: &str) -> InputRequest {
    let schema = json!({
        "type": "object",
        "properties": {name: {"type": kind}},
        "required": [name],
    });
    InputRequest::Elicitation(ElicitRequest::new(form(message, schema)))
}

/// Asks the client's model.
pub(super) fn model(text: &str) -> InputRequest {
    InputRequest::CreateMessage(CreateMessageRequest::new(prompt(text)))
}

/// Asks for the client's roots.
pub(super) fn roots() -> InputRequest {
    InputRequest::ListRoots(ListRootsRequest::default())
}

/// Asks all of it, each under its key.
pub(super) fn ask<const N: usize>(questions: [(&str, InputRequest); N]) -> InputRequiredResult {
    let questions = questions.map(|(key, question)| (key.to_owned(), question));
    InputRequiredResult::from_input_requests(questions.into())
}

/// As [`ask`], with the state to come back with the answers.
pub(super) fn ask_with_state<const N: usize>(
    questions: [(&str, InputRequest); N],
    state: String,
) -> CallToolResponse {
    let questions = questions.map(|(key, question)| (key.to_owned(), question));
    InputRequiredResult::new(Some(questions.into()), Some(state)).into()
}
