//! Tools that are listed for the sake of their schemas.

use std::sync::Arc;

use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{JsonObject, object};
use rmcp::schemars::{self, JsonSchema};
use rmcp::{tool, tool_router};
use serde::Deserialize;
use serde_json::json;

use super::Conformance;

#[derive(Deserialize, JsonSchema)]
struct InHeader {
    /// Also sent as the header Mcp-Param-Region.
    #[schemars(extend("x-mcp-header" = "Region"))]
    region: String,
}

#[tool_router(router = schema_tools, vis = "pub(super)")]
impl Conformance {
    /// Its argument is also in a header.
    #[tool]
    fn test_custom_header(&self, Parameters(argument): Parameters<InHeader>) -> String {
        argument.region
    }

    /// Its schema uses what JSON Schema 2020-12 has.
    #[tool(input_schema = contact())]
    fn json_schema_2020_12_tool(&self, arguments: JsonObject) -> String {
        format!("{} members", arguments.len())
    }
}

/// A contact with an address, reached by phone or by mail.
fn contact() -> Arc<JsonObject> {
    Arc::new(object(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {"address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }},
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {
            "properties": {"contactMethod": {"const": "phone"}},
            "required": ["contactMethod"],
        },
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": false,
    })))
}
