//! Tools that ask a legacy client while they run: its model, its user.

use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::ElicitRequestParams;
use rmcp::schemars::{self, JsonSchema};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, tool, tool_router};
use serde::Deserialize;
use serde_json::json;

use super::Conformance;
use super::questions::{form, prompt};

#[derive(Deserialize, JsonSchema)]
struct Sampling {
    /// What to ask the client's model.
    prompt: String,
}

#[derive(Deserialize, JsonSchema)]
struct Elicitation {
    /// What to ask the client's user.
    message: String,
}

#[tool_router(router = asking_tools, vis = "pub(super)")]
impl Conformance {
    /// Asks the client's model.
    #[tool]
    async fn test_sampling(
        &self,
        Parameters(sampling): Parameters<Sampling>,
        context: RequestContext<RoleServer>,
    ) -> Result<String, String> {
        let asked = context.peer.create_message(prompt(sampling.prompt)).await;
        let answer = asked.map_err(|error| error.to_string())?.message.content;
        let text = answer.first().and_then(|content| content.as_text());
        let text = text.map_or("(no text)", |text| text.text.as_str());
        Ok(format!("LLM response: {text}"))
    }

    /// Asks the client's user for a name and an address.
    #[tool]
    async fn test_elicitation(
        &self,
        Parameters(elicitation): Parameters<Elicitation>,
        context: RequestContext<RoleServer>,
    ) -> Result<String, String> {
        let schema = json!({
            "type": "object",
            "properties": {
                "username": {"type": "string", "description": "User's response"},
                "email": {"type": "string", "description": "User's email address"},
            },
            "required": ["username", "email"],
        });
        let answer = elicit(&context, form(elicitation.message, schema)).await?;
        Ok(format!("User response: {answer}"))
    }

    /// Asks the client's user with a form that is filled in already.
    #[tool]
    async fn test_elicitation_sep1034_defaults(
        &self,
        context: RequestContext<RoleServer>,
    ) -> Result<String, String> {
        let states = ["active", "inactive", "pending"];
        let schema = json!({"type": "object", "properties": {
            "name": {"type": "string", "default": "John Doe"},
            "age": {"type": "integer", "default": 30},
            "score": {"type": "number", "default": 95.5},
            "status": {"type": "string", "enum": states, "default": "active"},
            "verified": {"type": "boolean", "default": true},
        }});
        let answer = elicit(&context, form("Please review these", schema)).await?;
        Ok(format!("Elicitation completed: {answer}"))
    }

    /// Asks the client's user to choose, in each way there is.
    #[tool]
    async fn test_elicitation_sep1330_enums(
        &self,
        context: RequestContext<RoleServer>,
    ) -> Result<String, String> {
        let plain = ["option1", "option2", "option3"];
        let titled = json!([
            {"const": "value1", "title": "First Option"},
            {"const": "value2", "title": "Second Option"},
            {"const": "value3", "title": "Third Option"},
        ]);
        let schema = json!({"type": "object", "properties": {
            "untitledSingle": {"type": "string", "enum": plain},
            "titledSingle": {"type": "string", "oneOf": titled},
            "legacyEnum": {
                "type": "string",
                "enum": ["opt1", "opt2", "opt3"],
                "enumNames": ["Option One", "Option Two", "Option Three"],
            },
            "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
            "titledMulti": {"type": "array", "items": {"anyOf": titled}},
        }});
        let answer = elicit(&context, form("Please choose", schema)).await?;
        Ok(format!("Elicitation completed: {answer}"))
    }
}

/// The user's answer as `action=..., content=...`.
async fn elicit(
    context: &RequestContext<RoleServer>,
    form: ElicitRequestParams,
) -> Result<String, String> {
    let asked = context.peer.create_elicitation(form).await;
    let answer = asked.map_err(|error| error.to_string())?;
    let action = json!(answer.action);
    let content = json!(answer.content);
    Ok(format!("action={action}, content={content}"))
}
