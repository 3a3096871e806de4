//! Tools that remember something between rounds, in a state that the client
//! carries and that must come back unchanged.

use std::time::Duration;

use rmcp::handler::server::tool::{InputResponses, RequestState};
use rmcp::model::{CallToolResponse, RequestStateCodec, SealOptions};
use rmcp::{ErrorData, tool, tool_router};
use serde::{Deserialize, Serialize};

use super::input_required::done;
use super::questions::{ask_with_state, field, model, roots};
use super::{Conformance, answers};

/// All processes that serve this demo must agree on it; it protects nothing
/// but the suite's own calls.
const KEY: &[u8] = b"hexagram conformance demo, no secret";
/// How long a client may take to answer.
const LIFETIME: Duration = Duration::from_secs(600);

/// What a tool knows after a round.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Memory {
    /// It asked.
    Asked,
    /// It knows the name.
    Named(String),
}

#[tool_router(router = round_tools, vis = "pub(super)")]
impl Conformance {
    /// Asks for a confirmation and checks that its state came back.
    #[tool]
    fn test_input_required_result_request_state(
        &self,
        state: RequestState,
        given: InputResponses,
    ) -> Result<CallToolResponse, ErrorData> {
        confirmed("test_input_required_result_request_state", &state, &given)
    }

    /// As above: the suite changes this one's state.
    #[tool]
    fn test_input_required_result_tampered_state(
        &self,
        state: RequestState,
        given: InputResponses,
    ) -> Result<CallToolResponse, ErrorData> {
        confirmed("test_input_required_result_tampered_state", &state, &given)
    }

    /// Asks three things at once.
    #[tool]
    fn test_input_required_result_multiple_inputs(
        &self,
        state: RequestState,
        InputResponses(given): InputResponses,
    ) -> Result<CallToolResponse, ErrorData> {
        let tool = "test_input_required_result_multiple_inputs";
        let asked = open(tool, &state)?;
        let name = answers::text(given.as_ref(), "user_name", "name");
        let greeting = answers::said(given.as_ref(), "greeting");
        let found = answers::roots(given.as_ref(), "client_roots");
        if let (Some(_), Some(name), Some(greeting), Some(found)) = (asked, name, greeting, found) {
            return Ok(done(format!("{greeting} {name}: {}", found.join(", "))));
        }
        let questions = [
            ("user_name", field("What is your name?", "name", "string")),
            ("greeting", model("Generate a greeting")),
            ("client_roots", roots()),
        ];
        Ok(ask_with_state(questions, seal(tool, &Memory::Asked)?))
    }

    /// Asks twice, and remembers the first answer.
    #[tool]
    fn test_input_required_result_multi_round(
        &self,
        state: RequestState,
        InputResponses(given): InputResponses,
    ) -> Result<CallToolResponse, ErrorData> {
        let tool = "test_input_required_result_multi_round";
        let given = given.as_ref();
        let name = match open(tool, &state)? {
            Some(Memory::Named(name)) => Some(name),
            Some(Memory::Asked) => answers::text(given, "step1", "name").map(str::to_owned),
            None => None,
        };
        let Some(name) = name else {
            let question = field("Step 1: What is your name?", "name", "string");
            let state = seal(tool, &Memory::Asked)?;
            return Ok(ask_with_state([("step1", question)], state));
        };
        if let Some(color) = answers::text(given, "step2", "color") {
            return Ok(done(format!("{name} likes {color}")));
        }
        let question = field("Step 2: What is your favorite color?", "color", "string");
        let state = seal(tool, &Memory::Named(name))?;
        Ok(ask_with_state([("step2", question)], state))
    }
}

/// Done when the state came back with a confirmation; asks for it otherwise.
fn confirmed(
    tool: &str,
    state: &RequestState,
    InputResponses(given): &InputResponses,
) -> Result<CallToolResponse, ErrorData> {
    let asked = open(tool, state)?;
    let ticked = answers::tick(given.as_ref(), "confirm", "ok");
    if let (Some(_), Some(ok)) = (asked, ticked) {
        return Ok(done(format!("state-ok, confirmed: {ok}")));
    }
    let question = field("Please confirm", "ok", "boolean");
    Ok(ask_with_state(
        [("confirm", question)],
        seal(tool, &Memory::Asked)?,
    ))
}

fn codec() -> RequestStateCodec {
    RequestStateCodec::try_new(KEY).expect("a key that is long enough")
}

/// The state of one tool's calls; that of another tool is refused.
fn seal(tool: &str, memory: &Memory) -> Result<String, ErrorData> {
    let options = SealOptions::new()
        .associated_data(tool.as_bytes())
        .ttl(LIFETIME);
    let sealed = codec().seal_json_with(memory, &options);
    sealed.map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

/// What was sealed, or `None` in the first round.
fn open(tool: &str, RequestState(sealed): &RequestState) -> Result<Option<Memory>, ErrorData> {
    let Some(sealed) = sealed else {
        return Ok(None);
    };
    let opened = codec().open_json_with(sealed, tool.as_bytes());
    // The client is not told why: it may be trying.
    opened
        .map(Some)
        .map_err(|_| ErrorData::invalid_params("requestState is not one of ours", None))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is a test's way to fail")]

    use super::*;

    #[test]
    fn a_state_comes_back_as_it_was() {
        let memory = Memory::Named("Ada".to_owned());
        let sealed = seal("tool", &memory).unwrap();
        let opened = open("tool", &RequestState(Some(sealed))).unwrap();
        assert_eq!(opened, Some(memory));
        assert_eq!(open("tool", &RequestState(None)).unwrap(), None);
    }

    #[test]
    fn a_changed_or_borrowed_state_is_refused() {
        let sealed = seal("tool", &Memory::Asked).unwrap();
        assert!(open("tool", &RequestState(Some(format!("{sealed}-TAMPERED")))).is_err());
        assert!(open("another tool", &RequestState(Some(sealed))).is_err());
    }
}
