//! Which calls run again at an upstream when the worker that had them is lost.

use std::str::FromStr;

use crate::UpstreamName;

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
    #[must_use]
    pub fn of(rules: &[Self], upstream: &UpstreamName) -> Retry {
        let named = |rule: &&Self| rule.upstream.as_ref() == Some(upstream);
        let general = |rule: &&Self| rule.upstream.is_none();
        let rules = || rules.iter().rev();
        let rule = rules().find(named).or_else(|| rules().find(general));
        rule.map_or_else(Retry::default, |rule| rule.retry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
