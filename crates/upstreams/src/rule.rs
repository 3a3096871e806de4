//! What holds for one upstream, or for all that have no rule of their own.

use std::str::FromStr;

use crate::UpstreamName;

/// `[NAME=]VALUE` from the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule<T> {
    /// The upstream that it is for; `None`: all that no other rule names.
    pub upstream: Option<UpstreamName>,
    /// What holds there.
    pub value: T,
}

impl<T: FromStr<Err = String>> FromStr for Rule<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (Some(name.parse()?), value),
            None => (None, text),
        };
        Ok(Self {
            upstream: name,
            value: value.parse()?,
        })
    }
}

impl<T: Copy + Default> Rule<T> {
    /// What the rules say of this upstream. A rule that names it wins over one that
    /// names none, among equals the last.
    #[must_use]
    pub fn of(rules: &[Self], upstream: &UpstreamName) -> T {
        let named = |rule: &&Self| rule.upstream.as_ref() == Some(upstream);
        let general = |rule: &&Self| rule.upstream.is_none();
        let rules = || rules.iter().rev();
        let rule = rules().find(named).or_else(|| rules().find(general));
        rule.map_or_else(T::default, |rule| rule.value)
    }
}

#[cfg(test)]
mod tests {
    use crate::{EraRule, EraSetting, Retry, RetryRule};

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

    #[test]
    fn eras_have_rules_too() {
        let rule: EraRule = "git=modern".parse().expect("a rule");
        assert_eq!(rule.value, EraSetting::Modern);
        let error = "git=both".parse::<EraRule>().expect_err("no setting");
        assert!(error.contains("none of auto, legacy and modern"), "{error}");
    }
}
