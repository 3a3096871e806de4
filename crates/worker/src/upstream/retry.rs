//! Which calls run again at an upstream when the worker that had them is lost.

use std::str::FromStr;

use serde_json::Value;

use super::{Upstream, UpstreamName};

/// Which tool calls that may have run already are run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Retry {
    /// Those whose tool declares that this does no harm: `readOnlyHint` or
    /// `idempotentHint` among its annotations.
    #[default]
    Declared,
    /// None: what tools say of themselves is not believed.
    Never,
}

impl FromStr for Retry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "declared" => Ok(Self::Declared),
            "never" => Ok(Self::Never),
            _ => Err(format!("{text:?} is neither declared nor never")),
        }
    }
}

/// `[NAME=]declared|never` from the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryRule {
    /// The upstream that it is for; `None`: all that no other rule names.
    pub upstream: Option<UpstreamName>,
    /// What holds there.
    pub retry: Retry,
}

impl FromStr for RetryRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, retry) = match text.split_once('=') {
            Some((name, retry)) => (Some(name.parse()?), retry),
            None => (None, text),
        };
        Ok(Self {
            upstream: name,
            retry: retry.parse()?,
        })
    }
}

impl RetryRule {
    /// What the rules say of this upstream. A rule that names it wins over one that
    /// names none, among equals the last.
    pub(crate) fn of(rules: &[Self], upstream: &UpstreamName) -> Retry {
        let named = |rule: &&Self| rule.upstream.as_ref() == Some(upstream);
        let general = |rule: &&Self| rule.upstream.is_none();
        let rules = || rules.iter().rev();
        let rule = rules().find(named).or_else(|| rules().find(general));
        rule.map_or_else(Retry::default, |rule| rule.retry)
    }
}

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

    #[test]
    fn a_rule_that_names_its_upstream_wins() {
        let rules = ["git=declared", "never", "git=never", "git=declared"];
        let rules: Vec<RetryRule> = rules.map(|rule| rule.parse().expect("a rule")).into();
        let of = |name: &str| RetryRule::of(&rules, &name.parse().expect("a name"));
        assert_eq!((of("git"), of("other")), (Retry::Declared, Retry::Never));
        let none = RetryRule::of(&[], &"git".parse().expect("a name"));
        assert_eq!(none, Retry::Declared);
    }

    #[test]
    fn bad_rules_say_why() {
        for (text, why) in [
            ("always", "neither declared nor never"),
            ("git=", "neither declared nor never"),
            ("=never", "not an upstream name"),
            ("Git=never", "not an upstream name"),
        ] {
            let error = text.parse::<RetryRule>().expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
