//! What the workers say of one upstream, made one.

use std::collections::BTreeMap;

use hexagram_control::{Sight, Sights};
use hexagram_proto::MOST_SIGHTS;

/// Workers that are named where only some reach an upstream.
const NAMED: usize = 3;
/// Characters of a reason: workers send less.
const REASON: usize = 200;

/// An upstream as all workers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) reachable: Option<bool>,
    /// The condition's reason and message.
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) era: Option<String>,
    pub(crate) tools: Option<u32>,
}

impl Seen {
    /// One of which workers cannot say anything.
    pub(crate) fn not_served(message: &str) -> Self {
        Self {
            reachable: None,
            reason: "NotServed",
            message: message.to_owned(),
            era: None,
            tools: None,
        }
    }
}

/// The upstream called `name`, as the workers say that `told` anything. None where nobody
/// did: a new leader, workers of an older release, or some that serve more than they tell
/// of. What was known before holds then.
pub(crate) fn seen(name: &str, told: &BTreeMap<String, Sights>) -> Option<Seen> {
    if told.is_empty() {
        return None;
    }
    let of = |sights: &Sights| sights.iter().find(|sight| sight.name == name).cloned();
    let sights = told
        .iter()
        .filter_map(|(worker, all)| Some((worker.as_str(), of(all)?)));
    let sights: Vec<_> = sights.collect();
    if sights.is_empty() {
        let tells_of_all = told.values().all(|all| all.len() < MOST_SIGHTS);
        return tells_of_all.then(|| Seen::not_served("no worker serves it yet"));
    }
    let (reachable, reason, message) = reach(&sights);
    let lists = sights.iter().filter_map(|(_, sight)| sight.tools);
    let newest = lists.min_by_key(|tools| tools.age);
    Some(Seen {
        reachable,
        reason,
        message,
        era: era(&sights),
        tools: newest.map(|tools| tools.count),
    })
}

/// It is reachable as long as it answers anybody: those whom it does not answer may be cut
/// off themselves, and are named.
fn reach(sights: &[(&str, Sight)]) -> (Option<bool>, &'static str, String) {
    let answers = |(_, sight): &(&str, Sight)| sight.reachable == Some(true);
    let is_down = |(_, sight): &&(&str, Sight)| sight.reachable == Some(false);
    let down: Vec<_> = sights.iter().filter(is_down).collect();
    match (sights.iter().any(answers), down.first()) {
        (true, None) => (Some(true), "Answers", "it answers".to_owned()),
        (true, Some((_, first))) => {
            let message = format!("not to {}: {}", names(&down), why(first));
            (Some(true), "AnswersSome", message)
        }
        (false, Some((_, first))) => (Some(false), "Unreachable", why(first)),
        (false, None) => (None, "NotAsked", "no worker has asked it yet".to_owned()),
    }
}

fn why(sight: &Sight) -> String {
    match sight.reason.is_empty() {
        true => "it does not answer".to_owned(),
        false => sight.reason.chars().take(REASON).collect(),
    }
}

fn names(workers: &[&(&str, Sight)]) -> String {
    let named: Vec<_> = workers.iter().take(NAMED).map(|(name, _)| *name).collect();
    match workers.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// Those that reach it know better.
fn era(sights: &[(&str, Sight)]) -> Option<String> {
    let known = sights.iter().filter(|(_, sight)| sight.era.is_some());
    let best = known.max_by_key(|(_, sight)| sight.reachable)?;
    best.1.era.clone()
}

#[cfg(test)]
mod tests {
    use hexagram_control::ToolsSeen;

    use super::*;

    fn sight(reachable: Option<bool>, reason: &str) -> Sight {
        Sight {
            name: "docs".to_owned(),
            reachable,
            reason: reason.to_owned(),
            ..Sight::default()
        }
    }

    fn told(sights: &[Sight]) -> BTreeMap<String, Sights> {
        let told = sights.iter().enumerate();
        told.map(|(n, sight)| (format!("w{n}"), [sight.clone()].into()))
            .collect()
    }

    fn docs(sights: &[Sight]) -> Seen {
        seen("docs", &told(sights)).unwrap()
    }

    #[test]
    fn who_answers_anybody_is_reachable() {
        let (up, down) = (sight(Some(true), ""), sight(Some(false), "refused"));
        let unused = sight(None, "");
        for (sights, reachable, reason, message) in [
            (
                vec![up.clone(), unused.clone()],
                Some(true),
                "Answers",
                "it answers",
            ),
            (
                vec![down.clone(), up.clone(), down.clone()],
                Some(true),
                "AnswersSome",
                "not to w0, w2: refused",
            ),
            (
                vec![
                    down.clone(),
                    down.clone(),
                    down.clone(),
                    down.clone(),
                    down.clone(),
                    up,
                ],
                Some(true),
                "AnswersSome",
                "not to w0, w1, w2 and 2 more: refused",
            ),
            (
                vec![unused.clone(), down],
                Some(false),
                "Unreachable",
                "refused",
            ),
            (
                vec![sight(Some(false), "")],
                Some(false),
                "Unreachable",
                "it does not answer",
            ),
            (vec![unused], None, "NotAsked", "no worker has asked it yet"),
        ] {
            let seen = docs(&sights);
            assert_eq!(
                (seen.reachable, seen.reason, seen.message.as_str()),
                (reachable, reason, message)
            );
        }
    }

    #[test]
    fn where_nobody_tells_nothing_is_known() {
        assert_eq!(seen("docs", &BTreeMap::new()), None);
        let other = seen("git", &told(&[sight(Some(true), "")])).unwrap();
        assert_eq!((other.reachable, other.reason), (None, "NotServed"));
    }

    #[test]
    fn who_tells_of_as_many_as_he_may_can_serve_more() {
        let mut told = told(&[sight(Some(true), "")]);
        let full: Vec<_> = (0..MOST_SIGHTS).map(|_| sight(Some(true), "")).collect();
        told.insert("full".to_owned(), full.into());
        assert_eq!(seen("git", &told), None);
        assert_eq!(seen("docs", &told).unwrap().reason, "Answers");
    }

    #[test]
    fn who_reaches_it_knows_the_era_and_who_asked_last_the_tools() {
        let of = |reachable, era: &str, count, age| Sight {
            era: Some(era.to_owned()),
            tools: Some(ToolsSeen { count, age }),
            ..sight(Some(reachable), "")
        };
        let seen = docs(&[
            of(false, "legacy", 1, 5),
            of(true, "both", 2, 9),
            of(false, "modern", 3, 7),
        ]);
        assert_eq!((seen.era.as_deref(), seen.tools), (Some("both"), Some(1)));
        assert_eq!(docs(&[sight(None, "")]).tools, None);
    }
}
