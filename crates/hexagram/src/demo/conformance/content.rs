//! Tools that answer at once, with each kind of content.

use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};
use rmcp::schemars::{self, JsonSchema};
use rmcp::{tool, tool_router};
use serde::Deserialize;

use super::Conformance;
use super::resources::PNG;

/// A WAV file of two silent samples.
const WAV: &str = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQIAAACAgA==";

#[derive(Deserialize, JsonSchema)]
struct Greet {
    /// Whom to greet.
    name: String,
}

#[tool_router(router = content_tools, vis = "pub(super)")]
impl Conformance {
    /// Answers with text.
    #[tool]
    fn test_simple_text(&self) -> String {
        "This is a simple text response for testing.".to_owned()
    }

    /// Answers with an image.
    #[tool]
    fn test_image_content(&self) -> CallToolResult {
        CallToolResult::success(vec![ContentBlock::image(PNG, "image/png")])
    }

    /// Answers with a sound.
    #[tool]
    fn test_audio_content(&self) -> CallToolResult {
        CallToolResult::success(vec![ContentBlock::audio(WAV, "audio/wav")])
    }

    /// Answers with a resource.
    #[tool]
    fn test_embedded_resource(&self) -> CallToolResult {
        let text = "This is an embedded resource content.";
        let resource = ResourceContents::text(text, "test://embedded-resource");
        CallToolResult::success(vec![embedded(resource, "text/plain")])
    }

    /// Answers with text, an image and a resource.
    #[tool]
    fn test_multiple_content_types(&self) -> CallToolResult {
        let json = r#"{"test":"data","value":123}"#;
        let resource = ResourceContents::text(json, "test://mixed-content-resource");
        CallToolResult::success(vec![
            ContentBlock::text("Multiple content types test:"),
            ContentBlock::image(PNG, "image/png"),
            embedded(resource, "application/json"),
        ])
    }

    /// Fails, as a tool does.
    #[tool]
    fn test_error_handling(&self) -> Result<String, String> {
        Err("This tool intentionally returns an error for testing".to_owned())
    }

    /// Greets.
    #[tool]
    fn greet(&self, Parameters(greet): Parameters<Greet>) -> String {
        format!("Hello, {}!", greet.name)
    }
}

fn embedded(resource: ResourceContents, mime_type: &str) -> ContentBlock {
    ContentBlock::resource(resource.with_mime_type(mime_type))
}
