//! What clients answer: outside data, so anything may be missing or of another
//! kind, and is then asked for again.

use rmcp::model::InputResponses;
use serde_json::Value;

/// The text that the user entered in `field` of the form asked under `key`.
pub(super) fn text<'a>(
    answers: Option<&'a InputResponses>,
    key: &str,
    field: &str,
) -> Option<&'a str> {
    entered(answers?.get(key)?, field)?.as_str()
}

/// Whether the user ticked `field` of the form asked under `key`; `None` without an answer.
pub(super) fn tick(answers: Option<&InputResponses>, key: &str, field: &str) -> Option<bool> {
    entered(answers?.get(key)?, field)?.as_bool()
}

/// What the user entered in `field` of one form.
pub(super) fn entered<'a>(answer: &'a Value, field: &str) -> Option<&'a Value> {
    answer.get("content")?.get(field)
}

/// What the model said to the question asked under `key`.
pub(super) fn said<'a>(answers: Option<&'a InputResponses>, key: &str) -> Option<&'a str> {
    entered(answers?.get(key)?, "text")?.as_str()
}

/// The URIs of the roots asked for under `key`.
pub(super) fn roots<'a>(answers: Option<&'a InputResponses>, key: &str) -> Option<Vec<&'a str>> {
    let roots = answers?.get(key)?.get("roots")?.as_array()?;
    roots.iter().map(|root| root.get("uri")?.as_str()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is a test's way to fail")]

    use super::*;
    use serde_json::json;

    fn answers(answers: Value) -> InputResponses {
        serde_json::from_value(answers).unwrap()
    }

    #[test]
    fn reads_what_was_asked() {
        let answers = answers(json!({
            "form": {"action": "accept", "content": {"name": "Ada", "ok": true}},
            "model": {"role": "assistant", "content": {"type": "text", "text": "Paris"}},
            "roots": {"roots": [{"uri": "file:///a"}, {"uri": "file:///b", "name": "b"}]},
        }));
        let answers = Some(&answers);
        assert_eq!(text(answers, "form", "name"), Some("Ada"));
        assert_eq!(tick(answers, "form", "ok"), Some(true));
        assert_eq!(said(answers, "model"), Some("Paris"));
        assert_eq!(roots(answers, "roots").unwrap(), ["file:///a", "file:///b"]);
    }

    #[test]
    fn takes_anything_else_for_no_answer() {
        let answers = answers(json!({
            "number": 7,
            "declined": {"action": "decline"},
            "nameless": {"roots": [{"name": "no uri"}]},
        }));
        let answers = Some(&answers);
        for key in ["number", "declined", "nameless", "missing"] {
            assert_eq!(text(answers, key, "name"), None, "{key}");
            assert_eq!(tick(answers, key, "ok"), None, "{key}");
            assert_eq!(said(answers, key), None, "{key}");
            assert_eq!(roots(answers, key), None, "{key}");
        }
        assert_eq!(text(None, "number", "name"), None);
    }
}
