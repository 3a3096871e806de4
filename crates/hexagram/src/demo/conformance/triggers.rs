//! Tools that make something change, for clients that listen.

use rmcp::{tool, tool_router};

use super::Conformance;
use super::resources::WATCHED;
use hexagram_worker::Change;

#[tool_router(router = trigger_tools, vis = "pub(super)")]
impl Conformance {
    /// Says that the list of tools changed.
    #[tool]
    fn test_trigger_tool_change(&self) -> String {
        self.change(Change::Tools)
    }

    /// Says that the list of prompts changed.
    #[tool]
    fn test_trigger_prompt_change(&self) -> String {
        self.change(Change::Prompts)
    }

    /// Says that the list of resources changed.
    #[tool]
    fn test_trigger_resource_change(&self) -> String {
        self.change(Change::Resources)
    }

    /// Says that test://watched-resource changed.
    #[tool]
    fn test_trigger_resource_update(&self) -> String {
        self.change(Change::Resource(WATCHED.to_owned()))
    }

    fn change(&self, change: Change) -> String {
        let said = format!("announced: {change:?}");
        self.shared.changes.announce(change);
        said
    }
}
