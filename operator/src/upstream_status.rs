//! What stands on an `Upstream` object, and what of it is news.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::runtime::events::{Event, EventType};

use crate::sight::Seen;
use crate::upstream::{ACCEPTED, REACHABLE, Upstream, UpstreamStatus};
use crate::upstream_endpoint::service_named;
use crate::upstream_files::Verdict;

/// A condition's status, its reason and its message.
type Words<'a> = (&'static str, &'static str, &'a str);

/// What is to stand on an object, if that is another than before. Without anything `seen`
/// what was seen before stays.
pub(crate) fn status(
    object: &Upstream,
    verdict: &Verdict,
    seen: Option<&Seen>,
) -> Option<UpstreamStatus> {
    let known = object.status.clone().unwrap_or_default();
    let accepted = condition(object, ACCEPTED, verdict.words());
    // A file of that name is another's.
    let taken = Seen::not_served("workers are not given it");
    let is_taken = matches!(verdict, Verdict::NameTaken(_));
    let status = match seen.map(|seen| if is_taken { &taken } else { seen }) {
        Some(seen) => UpstreamStatus {
            reachable: seen.reachable,
            era: seen.era.clone(),
            tools: seen.tools,
            conditions: vec![accepted, reachable(object, seen)],
        },
        None => {
            let reachable = known.condition(REACHABLE).cloned();
            UpstreamStatus {
                conditions: [Some(accepted), reachable].into_iter().flatten().collect(),
                ..known.clone()
            }
        }
    };
    (status != known).then_some(status)
}

/// Whether its Service is there nobody looks: its message says whom workers asked.
fn reachable(object: &Upstream, seen: &Seen) -> Condition {
    let status = match seen.reachable {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let asked = service_named(object).filter(|_| seen.reachable.is_some());
    let message = match asked {
        Some(service) => format!("{service}: {}", seen.message),
        None => seen.message.clone(),
    };
    condition(object, REACHABLE, (status, seen.reason, &message))
}

/// The condition with the time since when its status is this.
fn condition(object: &Upstream, type_: &str, (status, reason, message): Words<'_>) -> Condition {
    let known = object.status.as_ref();
    let known = known.and_then(|known| known.condition(type_));
    let since = known.filter(|known| known.status == status);
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: object.metadata.generation,
        last_transition_time: match since {
            Some(known) => known.last_transition_time.clone(),
            None => Time(Timestamp::now()),
        },
    }
}

/// Whether the upstream went or came back, for some or for all, or something of it is known
/// for the first time.
pub(crate) fn is_turn(before: Option<&UpstreamStatus>, now: &UpstreamStatus) -> bool {
    let Some(before) = before else {
        return true;
    };
    let reach = |of: &UpstreamStatus| {
        let condition = of.condition(REACHABLE)?;
        Some((condition.status.clone(), condition.reason.clone()))
    };
    let is_found = (before.era.is_none() && now.era.is_some())
        || (before.tools.is_none() && now.tools.is_some());
    is_found || reach(before) != reach(now)
}

/// What of a new status is worth telling: each verdict, and that the upstream went and came
/// back.
pub(crate) fn events(before: Option<&UpstreamStatus>, now: &UpstreamStatus) -> Vec<Event> {
    let before = |type_| before.and_then(|before| before.condition(type_));
    let verdict = now.condition(ACCEPTED);
    let verdict = verdict.filter(|verdict| before(ACCEPTED) != Some(*verdict));
    let was = before(REACHABLE).map(|before| before.status.as_str());
    let turn = now.condition(REACHABLE).filter(|turn| match &*turn.status {
        "False" => was != Some("False"),
        "True" => was == Some("False"),
        _ => false,
    });
    let verdict = verdict.map(|verdict| event(verdict, &verdict.reason, "Give"));
    let turn = turn.map(|turn| {
        let reason = match &*turn.status {
            "True" => REACHABLE,
            _ => turn.reason.as_str(),
        };
        event(turn, reason, "Watch")
    });
    verdict.into_iter().chain(turn).collect()
}

fn event(condition: &Condition, reason: &str, action: &str) -> Event {
    Event {
        type_: match &*condition.status {
            "True" => EventType::Normal,
            _ => EventType::Warning,
        },
        reason: reason.to_owned(),
        note: Some(condition.message.clone()),
        action: action.to_owned(),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{ServiceRef, UpstreamSpec};

    fn object(status: Option<UpstreamStatus>) -> Upstream {
        let spec = UpstreamSpec {
            url: Some("http://x".to_owned()),
            ..UpstreamSpec::default()
        };
        let mut object = Upstream::new("x", spec);
        object.metadata.generation = Some(3);
        object.status = status;
        object
    }

    fn seen(reachable: Option<bool>) -> Seen {
        Seen {
            reachable,
            reason: "Because",
            message: "why".to_owned(),
            era: Some("both".to_owned()),
            tools: Some(7),
        }
    }

    /// What follows on `status`, if anything does.
    fn next(
        before: &UpstreamStatus,
        verdict: &Verdict,
        seen: Option<&Seen>,
    ) -> Option<UpstreamStatus> {
        status(&object(Some(before.clone())), verdict, seen)
    }

    fn first() -> UpstreamStatus {
        status(&object(None), &Verdict::Accepted, None).unwrap()
    }

    #[test]
    fn only_news_are_written_and_a_turn_has_its_time() {
        let mut before = first();
        let accepted = before.condition(ACCEPTED).unwrap();
        assert_eq!(
            (&*accepted.status, accepted.observed_generation),
            ("True", Some(3))
        );
        assert_eq!(next(&before, &Verdict::Accepted, None), None);
        before.conditions[0].observed_generation = Some(2);
        before.conditions[0].last_transition_time = Time(Timestamp::UNIX_EPOCH);
        let again = next(&before, &Verdict::Accepted, None).unwrap();
        let since = |status: &UpstreamStatus| status.conditions[0].last_transition_time.clone();
        assert_eq!(since(&again), since(&before));
        let wrong = Verdict::Invalid("why".to_owned());
        let turned = next(&before, &wrong, None).unwrap();
        assert_ne!(since(&turned), since(&before));
        let turned = &turned.conditions[0];
        assert_eq!((&*turned.reason, &*turned.message), ("Invalid", "why"));
    }

    #[test]
    fn what_was_seen_stays_until_something_else_is() {
        let up = seen(Some(true));
        let known = next(&first(), &Verdict::Accepted, Some(&up)).unwrap();
        let told = (known.reachable, known.era.as_deref(), known.tools);
        assert_eq!(told, (Some(true), Some("both"), Some(7)));
        assert_eq!(known.condition(REACHABLE).unwrap().status, "True");
        assert_eq!(next(&known, &Verdict::Accepted, Some(&up)), None);
        assert_eq!(next(&known, &Verdict::Accepted, None), None);
        let wrong = Verdict::NoSecret("why".to_owned());
        let refused = next(&known, &wrong, None).unwrap();
        assert_eq!(
            refused.conditions[1], known.conditions[1],
            "it is served on"
        );
        let unknown = next(&known, &Verdict::Accepted, Some(&seen(None))).unwrap();
        assert_eq!(unknown.reachable, None);
        assert_eq!(unknown.condition(REACHABLE).unwrap().status, "Unknown");
    }

    #[test]
    fn whether_a_service_answers_is_told_with_its_name() {
        let mut object = object(None);
        object.spec.service = Some(ServiceRef {
            name: "docs".to_owned(),
            namespace: Some("tools".to_owned()),
            port: 80,
            path: None,
            scheme: None,
        });
        let told = |seen: &Seen| {
            let status = status(&object, &Verdict::Accepted, Some(seen)).unwrap();
            status.condition(REACHABLE).unwrap().message.clone()
        };
        let expected = "Service docs in tools, port 80: why";
        assert_eq!(told(&seen(Some(false))), expected);
        assert_eq!(told(&seen(None)), "why");
    }

    #[test]
    fn of_one_whose_name_is_another_s_nothing_is_seen() {
        let up = seen(Some(true));
        let verdict = Verdict::NameTaken("by another".to_owned());
        let taken = next(&first(), &verdict, Some(&up)).unwrap();
        assert_eq!((taken.reachable, taken.tools), (None, None));
        let reachable = taken.condition(REACHABLE).unwrap();
        assert_eq!(
            (&*reachable.status, &*reachable.reason),
            ("Unknown", "NotServed")
        );
    }

    #[test]
    fn a_turn_is_more_than_other_words() {
        let first = first();
        let after = |before: &UpstreamStatus, seen: &Seen| {
            next(before, &Verdict::Accepted, Some(seen)).unwrap()
        };
        let uncounted = Seen {
            tools: None,
            ..seen(Some(true))
        };
        let other = Seen {
            message: "other".to_owned(),
            tools: Some(8),
            ..seen(Some(true))
        };
        let up = after(&first, &uncounted);
        assert!(is_turn(None, &first));
        assert!(is_turn(Some(&first), &up));
        let counted = after(&up, &seen(Some(true)));
        assert!(is_turn(Some(&up), &counted), "it has tools");
        assert!(!is_turn(Some(&counted), &after(&counted, &other)));
        let some = Seen {
            reason: "Some",
            ..seen(Some(true))
        };
        assert!(is_turn(Some(&counted), &after(&counted, &some)));
        let down = after(&counted, &seen(Some(false)));
        assert!(is_turn(Some(&counted), &down));
    }

    /// The reasons of what is told.
    fn told(before: Option<&UpstreamStatus>, now: &UpstreamStatus) -> Vec<String> {
        let events = events(before, now).into_iter();
        events.map(|event| event.reason).collect()
    }

    #[test]
    fn it_is_told_that_an_upstream_goes_and_comes_back() {
        let first = first();
        assert_eq!(told(None, &first), ["Accepted"]);
        let after = |before: &UpstreamStatus, reachable| {
            next(before, &Verdict::Accepted, Some(&seen(reachable))).unwrap()
        };
        let up = after(&first, Some(true));
        assert!(told(Some(&first), &up).is_empty());
        let down = after(&up, Some(false));
        assert_eq!(told(Some(&up), &down), ["Because"]);
        assert!(told(Some(&down), &down).is_empty());
        let back = after(&down, Some(true));
        assert_eq!(told(Some(&down), &back), ["Reachable"]);
        assert!(told(Some(&back), &after(&back, None)).is_empty());
    }
}
