//! When an `Upstream` object's status is written again. A verdict is said at once, what workers
//! see of the upstream after a rest. A verdict that something else wrote over is said again
//! seldom: two operators of one namespace that differ in it would write in turns for ever.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use tokio::time::Instant;

use crate::upstream::{ACCEPTED, Upstream, UpstreamStatus};
use crate::upstream_status::is_turn;

/// After a write, before it is written of the same object that it went or came back.
const REST: Duration = Duration::from_secs(5);
/// The same for other words, which may change with each call of a client, and for a verdict
/// that was said before.
const LONG_REST: Duration = Duration::from_secs(60);

/// What was said, and when, by the objects' names.
#[derive(Debug, Default)]
pub(crate) struct Said {
    last: BTreeMap<String, Last>,
    /// It was told that something else says other things.
    is_told: bool,
}

/// Of one object.
#[derive(Debug)]
struct Last {
    /// When it was said, or at least tried to.
    at: Instant,
    /// The verdict that stands, as far as is known. Of a write without an answer it is not: the
    /// next one counts as the first.
    verdict: Option<Condition>,
}

impl Said {
    /// Forgets objects that are gone.
    pub(crate) fn keep(&mut self, objects: &BTreeMap<String, Upstream>) {
        self.last.retain(|name, _| objects.contains_key(name));
    }

    /// Whether it is time to write this on the object. Tells once that something else does.
    pub(crate) fn is_due(
        &mut self,
        object: &Upstream,
        news: &UpstreamStatus,
        now: Instant,
    ) -> bool {
        let last = self.last.get(&object.name_any());
        let said = last.and_then(|last| last.verdict.as_ref());
        let is_over = is_written_over(object.status.as_ref(), news, said);
        let rest = match is_over {
            true => LONG_REST,
            false => rest(object.status.as_ref(), news),
        };
        let is_due = last.is_none_or(|last| now - last.at >= rest);
        if is_over && !self.is_told {
            self.is_told = true;
            tracing::warn!(
                upstream = object.name_any(),
                "something else writes the status of an Upstream object, perhaps the operator of \
                 another cluster in this namespace, which serves the same objects: where both \
                 differ each is written once a minute"
            );
        }
        is_due
    }

    /// It is about to be written on the object.
    pub(crate) fn tries(&mut self, object: &Upstream, now: Instant) {
        let unknown = Last {
            at: now,
            verdict: None,
        };
        self.last.insert(object.name_any(), unknown);
    }

    /// This stands on the object.
    pub(crate) fn wrote(&mut self, object: &Upstream, status: &UpstreamStatus) {
        if let Some(last) = self.last.get_mut(&object.name_any()) {
            last.verdict = status.condition(ACCEPTED).cloned();
        }
    }
}

/// How long this rests after what was written before.
fn rest(before: Option<&UpstreamStatus>, news: &UpstreamStatus) -> Duration {
    match is_turn(before, news) {
        _ if verdict(before) != verdict(Some(news)) => Duration::ZERO,
        true => REST,
        false => LONG_REST,
    }
}

/// Whether another verdict stands on the object than the one that was `said` and is to be
/// said still.
fn is_written_over(
    before: Option<&UpstreamStatus>,
    news: &UpstreamStatus,
    said: Option<&Condition>,
) -> bool {
    let (stands, wanted) = (verdict(before), verdict(Some(news)));
    let words = |verdict: &Condition| {
        let Condition {
            status,
            reason,
            message,
            observed_generation,
            ..
        } = verdict.clone();
        (status, reason, message, observed_generation)
    };
    stands.is_some() && stands != wanted && said.map(words) == wanted.map(words)
}

fn verdict(status: Option<&UpstreamStatus>) -> Option<&Condition> {
    status?.condition(ACCEPTED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sight::Seen;
    use crate::upstream::UpstreamSpec;
    use crate::upstream_files::Verdict;
    use crate::upstream_status::status;

    const SECOND: Duration = Duration::from_secs(1);

    fn object() -> Upstream {
        let spec = UpstreamSpec {
            url: Some("http://x".to_owned()),
            ..UpstreamSpec::default()
        };
        let mut object = Upstream::new("docs", spec);
        object.metadata.generation = Some(1);
        object
    }

    fn no_secret() -> Verdict {
        Verdict::NoSecret("docs-key is not there".to_owned())
    }

    fn seen(reachable: bool) -> Seen {
        Seen {
            reachable: Some(reachable),
            reason: if reachable { "Answers" } else { "Unreachable" },
            message: String::new(),
            era: None,
            tools: None,
        }
    }

    /// An operator, which has its own verdict on the object.
    struct Operator {
        verdict: Verdict,
        said: Said,
    }

    impl Operator {
        fn of(verdict: Verdict) -> Self {
            Self {
                verdict,
                said: Said::default(),
            }
        }

        /// Looks at the object; whether it writes on it.
        fn glance(&mut self, object: &mut Upstream, seen: Option<&Seen>, now: Instant) -> bool {
            let Some(news) = status(object, &self.verdict, seen) else {
                return false;
            };
            let is_due = self.said.is_due(object, &news, now);
            if is_due {
                self.said.tries(object, now);
                self.said.wrote(object, &news);
                object.status = Some(news);
            }
            is_due
        }
    }

    #[test]
    fn two_operators_of_different_minds_write_once_a_minute() {
        let mut object = object();
        let mut two = [Verdict::Accepted, no_secret()].map(Operator::of);
        let (start, mut written) = (Instant::now(), 0);
        for second in 0..600 {
            for (operator, seen) in two.iter_mut().zip([true, false].map(seen)) {
                let now = start + second * SECOND;
                written += u32::from(operator.glance(&mut object, Some(&seen), now));
            }
        }
        assert!((18..=22).contains(&written), "{written}");
        assert!(two.iter().all(|operator| operator.said.is_told));
    }

    #[test]
    fn a_verdict_that_changes_is_said_at_once() {
        let mut object = object();
        let mut operator = Operator::of(Verdict::Accepted);
        let now = Instant::now();
        assert!(operator.glance(&mut object, None, now));
        assert!(!operator.glance(&mut object, None, now));
        for verdict in [no_secret(), Verdict::Accepted, no_secret()] {
            operator.verdict = verdict;
            assert!(operator.glance(&mut object, None, now));
        }
        object.metadata.generation = Some(2);
        assert!(operator.glance(&mut object, None, now));
        object.status = None;
        assert!(operator.glance(&mut object, None, now), "it is made anew");
        assert!(!operator.said.is_told);
    }

    #[test]
    fn a_verdict_that_was_not_written_is_said_at_once() {
        let mut object = object();
        let mut operator = Operator::of(Verdict::Accepted);
        let now = Instant::now();
        assert!(operator.glance(&mut object, None, now));
        operator.verdict = no_secret();
        let news = status(&object, &operator.verdict, None).unwrap();
        operator.said.tries(&object, now);
        assert!(operator.said.is_due(&object, &news, now));
        assert!(!operator.said.is_told);
    }

    #[test]
    fn an_own_write_whose_answer_was_lost_is_nobody_elses() {
        let mut object = object();
        let mut operator = Operator::of(Verdict::Accepted);
        let now = Instant::now();
        assert!(operator.glance(&mut object, None, now));
        let unanswered = status(&object, &no_secret(), None).unwrap();
        operator.said.tries(&object, now);
        object.status = Some(unanswered);
        // Its verdict is the earlier one again.
        assert!(operator.glance(&mut object, None, now));
        assert!(!operator.said.is_told);
    }

    #[test]
    fn what_workers_see_rests() {
        let mut object = object();
        let mut operator = Operator::of(Verdict::Accepted);
        let start = Instant::now();
        assert!(operator.glance(&mut object, Some(&seen(true)), start));
        let mut glance =
            |seen: &Seen, after: Duration| operator.glance(&mut object, Some(seen), start + after);
        assert!(!glance(&seen(false), REST - SECOND));
        assert!(glance(&seen(false), REST));
        let worded = Seen {
            message: "other words".to_owned(),
            ..seen(false)
        };
        assert!(!glance(&worded, REST + LONG_REST - SECOND));
        assert!(glance(&worded, REST + LONG_REST));
    }
}
