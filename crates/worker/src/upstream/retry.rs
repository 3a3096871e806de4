//! Which calls run again at an upstream when the worker that had them is lost.

use hexagram_upstreams::Retry;
use serde_json::Value;

use super::Upstream;

impl Upstream {
    /// As it is, with another rule for calls that may have run already.
    #[must_use]
    pub fn retrying(self, retry: Retry) -> Self {
        *self.retry.lock() = retry;
        self
    }

    pub(crate) fn retry(&self) -> Retry {
        *self.retry.lock()
    }
}

/// Whether a tool, as `tools/list` has it, declares that it may run twice. Only
/// a plain `true` does.
pub(crate) fn declares(tool: &Value) -> bool {
    ["readOnlyHint", "idempotentHint"]
        .iter()
        .any(|hint| tool["annotations"][hint] == true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_plain_yes_is_a_declaration() {
        for (annotations, expected) in [
            (json!({"readOnlyHint": true}), true),
            (json!({"idempotentHint": true}), true),
            (json!({"readOnlyHint": false, "idempotentHint": true}), true),
            (json!({"readOnlyHint": false}), false),
            (json!({"destructiveHint": false}), false),
            (json!({"readOnlyHint": "true"}), false),
            (json!({"readOnlyHint": 1}), false),
            (json!([true]), false),
            (json!(null), false),
        ] {
            let tool = json!({"name": "x", "annotations": annotations});
            assert_eq!(declares(&tool), expected, "{tool}");
        }
        assert!(!declares(&json!({"name": "x", "readOnlyHint": true})));
    }
}
