//! The prompts.

use rmcp::ErrorData;
use rmcp::model::{
    ContentBlock, GetPromptRequestParams, GetPromptResponse, GetPromptResult, JsonObject, Prompt,
    PromptArgument, PromptMessage, ResourceContents, Role,
};
use serde_json::Value;

use super::answers;
use super::questions::{ask, field};
use super::resources::PNG;

/// What is known of each: name, description, arguments.
const PROMPTS: [(&str, &str, &[&str]); 5] = [
    ("test_simple_prompt", "A text", &[]),
    (
        "test_prompt_with_arguments",
        "A text with its arguments",
        &["arg1", "arg2"],
    ),
    (
        "test_prompt_with_embedded_resource",
        "A resource and a text",
        &["resourceUri"],
    ),
    ("test_prompt_with_image", "An image and a text", &[]),
    (
        "test_input_required_result_prompt",
        "A text that it asks for",
        &[],
    ),
];

/// All of them.
pub(super) fn list() -> Vec<Prompt> {
    let argument = |name: &&str| PromptArgument::new(*name).with_required(true);
    let prompt = |(name, about, arguments): (&str, &str, &[&str])| {
        let arguments = arguments.iter().map(argument).collect::<Vec<_>>();
        let arguments = (!arguments.is_empty()).then_some(arguments);
        Prompt::new(name, Some(about), arguments)
    };
    PROMPTS.map(prompt).into()
}

/// The messages of one.
pub(super) fn get(request: GetPromptRequestParams) -> Result<GetPromptResponse, ErrorData> {
    let given = request.arguments.unwrap_or_default();
    let messages = match request.name.as_str() {
        "test_simple_prompt" => vec![text("This is a simple prompt for testing.")],
        "test_prompt_with_arguments" => vec![with_arguments(&given)?],
        "test_prompt_with_embedded_resource" => vec![
            user(embedded(argument(&given, "resourceUri")?)),
            text("Please process the embedded resource above."),
        ],
        "test_prompt_with_image" => vec![
            user(ContentBlock::image(PNG, "image/png")),
            text("Please analyze the image above."),
        ],
        "test_input_required_result_prompt" => {
            let answers = request.input_responses.as_ref();
            let Some(context) = answers::text(answers, "user_context", "context") else {
                let question = field("What context should the prompt use?", "context", "string");
                return Ok(ask([("user_context", question)]).into());
            };
            vec![text(format!("Answer in this context: {context}"))]
        }
        name => return Err(invalid(format!("no prompt {name}"))),
    };
    Ok(GetPromptResult::new(messages).into())
}

fn with_arguments(given: &JsonObject) -> Result<PromptMessage, ErrorData> {
    let (arg1, arg2) = (argument(given, "arg1")?, argument(given, "arg2")?);
    let said = format!("Prompt with arguments: arg1='{arg1}', arg2='{arg2}'");
    Ok(text(said))
}

fn argument<'a>(given: &'a JsonObject, name: &str) -> Result<&'a str, ErrorData> {
    let value = given.get(name).and_then(Value::as_str);
    value.ok_or_else(|| invalid(format!("argument {name} is missing")))
}

fn embedded(uri: &str) -> ContentBlock {
    let contents = ResourceContents::text("Embedded resource content for testing.", uri);
    ContentBlock::resource(contents.with_mime_type("text/plain"))
}

fn text(text: impl Into<String>) -> PromptMessage {
    PromptMessage::new_text(Role::User, text)
}

fn user(content: ContentBlock) -> PromptMessage {
    PromptMessage::new(Role::User, content)
}

fn invalid(detail: String) -> ErrorData {
    ErrorData::invalid_params(detail, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_listed_can_be_got() {
        for (name, _, arguments) in PROMPTS {
            let given = arguments
                .iter()
                .map(|name| ((*name).to_owned(), "x".into()));
            let request = GetPromptRequestParams::new(name).with_arguments(given.collect());
            assert!(get(request).is_ok(), "{name}");
        }
    }

    #[test]
    fn unknown_names_and_missing_arguments_are_refused() {
        for name in ["nothing", "test_prompt_with_arguments"] {
            assert!(get(GetPromptRequestParams::new(name)).is_err(), "{name}");
        }
    }
}
