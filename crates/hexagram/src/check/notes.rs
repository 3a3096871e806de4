//! The notes taken while a revision is probed: features, and findings where a
//! rule of the specification is broken.

use super::failure::Failure;
use super::reply::{Outcome, Reply, told};
use super::report::{Feature, Finding};

/// A MUST of the specification, checked by one request.
#[derive(Debug)]
pub(super) struct Rule {
    /// The feature that keeping it is.
    pub(super) feature: &'static str,
    /// What is sent to see.
    pub(super) sent: &'static str,
    /// What the specification wants then.
    pub(super) wanted: &'static str,
}

/// The notes on one revision.
#[derive(Debug)]
pub(super) struct Notes {
    revision: &'static str,
    pub(super) features: Vec<(&'static str, Feature)>,
    pub(super) findings: Vec<Finding>,
}

impl Notes {
    pub(super) fn new(revision: &'static str) -> Self {
        Self {
            revision,
            features: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// Notes a feature that no rule asks for.
    pub(super) fn feature(
        &mut self,
        name: &'static str,
        seen: Option<bool>,
        note: impl Into<String>,
    ) {
        let note = note.into();
        self.features.push((name, Feature { seen, note }));
    }

    /// Notes a feature that no rule asks for, as the outcome of a request.
    pub(super) fn optional(
        &mut self,
        name: &'static str,
        outcome: &Outcome,
        holds: impl FnOnce(&Reply) -> bool,
    ) {
        let seen = seen(outcome, holds);
        self.feature(name, seen, note(seen, outcome));
    }

    /// Notes the feature that the rule asks for, and a finding if it is broken.
    pub(super) fn must(
        &mut self,
        rule: &Rule,
        outcome: &Outcome,
        holds: impl FnOnce(&Reply) -> bool,
    ) {
        let seen = seen(outcome, holds);
        self.feature(rule.feature, seen, note(seen, outcome));
        if seen == Some(false) {
            self.broken(rule, told(outcome));
        }
    }

    /// Notes that the rule is broken.
    pub(super) fn broken(&mut self, rule: &Rule, seen: impl Into<String>) {
        let finding = Finding {
            revision: self.revision,
            sent: rule.sent,
            seen: seen.into(),
            wanted: rule.wanted,
        };
        // A list of many pages may break the same rule on each.
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }
}

/// What went well needs few words.
fn note(seen: Option<bool>, outcome: &Outcome) -> String {
    match outcome {
        Ok(reply) if seen == Some(true) => reply.brief(),
        _ => told(outcome),
    }
}

/// Without an answer there is nothing to judge; but the server is to blame for
/// one that it begins and does not end.
fn seen(outcome: &Outcome, holds: impl FnOnce(&Reply) -> bool) -> Option<bool> {
    match outcome {
        Ok(reply) if holds(reply) => Some(true),
        Ok(reply) if reply.is_temporary() => None,
        Ok(_) => Some(false),
        Err(Failure::Endless(_)) => Some(false),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::reply::tests::reply;
    use super::*;

    const RULE: Rule = Rule {
        feature: "ping",
        sent: "ping",
        wanted: "a result",
    };

    fn noted(outcome: &Outcome) -> (Option<bool>, usize) {
        let mut notes = Notes::new("2025-11-25");
        notes.must(&RULE, outcome, |reply| reply.status == 200);
        (notes.features[0].1.seen, notes.findings.len())
    }

    #[test]
    fn only_what_was_answered_can_break_a_rule() {
        assert_eq!(noted(&Ok(reply(200, ""))), (Some(true), 0));
        assert_eq!(noted(&Ok(reply(500, ""))), (Some(false), 1));
        assert_eq!(noted(&Ok(reply(429, ""))), (None, 0));
        assert_eq!(noted(&Err(Failure::OutOfTime)), (None, 0));
        let endless = Failure::Endless(Duration::from_secs(1));
        assert_eq!(noted(&Err(endless)), (Some(false), 1));
    }

    #[test]
    fn a_finding_is_told_once() {
        let mut notes = Notes::new("2025-11-25");
        notes.broken(&RULE, "nothing");
        notes.broken(&RULE, "nothing");
        assert_eq!(notes.findings.len(), 1);
    }
}
