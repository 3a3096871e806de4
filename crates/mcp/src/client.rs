//! What a legacy client says of itself in `initialize`.

#[cfg(test)]
mod tests;

use hexagram_core::Capabilities;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::Problem;

/// The parameters of `initialize`, as far as a session needs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitializeParams {
    /// The version asked for, of any spelling.
    pub protocol_version: String,
    /// The capabilities that have a bit.
    pub capabilities: Capabilities,
    /// Whether the client said more than the bits tell (experimental
    /// capabilities, extensions, settings), so that it must be kept as it was.
    pub has_unknown: bool,
    /// `clientInfo.name`.
    pub client_name: String,
    /// `clientInfo.version`.
    pub client_version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    protocol_version: String,
    capabilities: Map<String, Value>,
    client_info: ClientInfo,
}

#[derive(Deserialize)]
struct ClientInfo {
    name: String,
    version: String,
}

impl InitializeParams {
    /// Reads the text of `params`.
    ///
    /// # Errors
    /// [`Problem::InvalidParams`] when a required member is missing or of another type.
    pub fn from_params(params: &[u8]) -> Result<Self, Problem> {
        let wire: Wire = serde_json::from_slice(params).map_err(|e| Problem::InvalidParams {
            detail: format!("initialize: {e}"),
        })?;
        let (capabilities, has_unknown) = capability_bits(Value::Object(wire.capabilities));
        Ok(Self {
            protocol_version: wire.protocol_version,
            capabilities,
            has_unknown,
            client_name: wire.client_info.name,
            client_version: wire.client_info.version,
        })
    }
}

/// Where each bit stands in the client-capabilities object, outer members first.
const PLACES: [(&str, Capabilities); 12] = [
    ("/roots", Capabilities::ROOTS),
    ("/roots/listChanged", Capabilities::ROOTS_LIST_CHANGED),
    ("/sampling", Capabilities::SAMPLING),
    ("/sampling/tools", Capabilities::SAMPLING_TOOLS),
    ("/sampling/context", Capabilities::SAMPLING_CONTEXT),
    ("/elicitation/form", Capabilities::ELICITATION_FORM),
    ("/elicitation/url", Capabilities::ELICITATION_URL),
    ("/tasks", Capabilities::TASKS),
    ("/tasks/list", Capabilities::TASKS_LIST),
    ("/tasks/cancel", Capabilities::TASKS_CANCEL),
    (
        "/tasks/requests/sampling/createMessage",
        Capabilities::TASKS_SAMPLING,
    ),
    (
        "/tasks/requests/elicitation/create",
        Capabilities::TASKS_ELICITATION,
    ),
];

/// The client-capabilities object that stands for `bits`, as an upstream's
/// `initialize` wants it.
#[must_use]
pub fn capabilities_json(bits: Capabilities) -> Value {
    let mut all = json!({});
    for (place, _) in PLACES.iter().filter(|(_, bit)| bits.contains(*bit)) {
        put(&mut all, place);
    }
    shortest(all)
}

/// Adds the member at `place` and the objects around it.
fn put(all: &mut Value, place: &str) {
    let mut at = all;
    for name in place.split('/').skip(1) {
        at = &mut at[name];
        if at.is_null() {
            *at = if name == "listChanged" {
                json!(true)
            } else {
                json!({})
            };
        }
    }
}

/// The bits of a client-capabilities object, and whether they do not tell all
/// that it says.
#[must_use]
pub fn capability_bits(said: Value) -> (Capabilities, bool) {
    let mut bits = Capabilities::default();
    for (place, bit) in PLACES {
        if said
            .pointer(place)
            .is_some_and(|value| value.is_object() || *value == json!(true))
        {
            bits.insert(bit);
        }
    }
    if said.get("elicitation") == Some(&json!({})) {
        bits.insert(Capabilities::ELICITATION_FORM);
    }
    (bits, capabilities_json(bits) != shortest(said))
}

/// The one of several spellings that every revision understands: no
/// `listChanged: false`, and `{}` for form elicitation alone (2025-06-18 knows no other).
fn shortest(mut all: Value) -> Value {
    if let Some(Value::Object(roots)) = all.get_mut("roots") {
        roots.retain(|name, value| name != "listChanged" || *value != json!(false));
    }
    if let Some(elicitation) = all.get_mut("elicitation")
        && *elicitation == json!({ "form": {} })
    {
        *elicitation = json!({});
    }
    all
}
