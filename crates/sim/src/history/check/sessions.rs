//! What a session is owed: its order (I6), its end (I12), and that it is remembered
//! (I2).

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Found, Invariant};
use crate::history::{Asked, Change, Event, Exchange, History, Outcome, Step};

/// The levels of log messages, from the least urgent.
const LEVELS: [&str; 8] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];

pub(super) fn check(history: &History, found: &mut Found) {
    let mut sessions: BTreeMap<(usize, u64), Vec<&Exchange>> = BTreeMap::new();
    for exchange in &history.exchanges {
        if let Some(session) = exchange.session {
            let key = (exchange.client, session);
            sessions.entry(key).or_default().push(exchange);
        }
    }
    let admissions = Admissions::of(&history.events);
    for exchanges in sessions.values() {
        order(exchanges, &admissions, found);
        end(exchanges, found);
        levels(exchanges, found);
        memory(exchanges, &admissions, &history.events, found);
    }
}

/// When each request was admitted, first and last, and for which shard.
struct Admissions<'a>(BTreeMap<&'a str, (Duration, Duration, u16)>);

impl<'a> Admissions<'a> {
    fn of(events: &'a [Event]) -> Self {
        let mut all = BTreeMap::new();
        for event in events {
            if let Step::Admitted { shard, id, .. } = &event.step {
                let entry = all
                    .entry(id.as_str())
                    .or_insert((event.at, event.at, *shard));
                entry.1 = event.at;
            }
        }
        Self(all)
    }

    fn get(&self, exchange: &Exchange) -> Option<&(Duration, Duration, u16)> {
        self.0.get(exchange.id.as_str())
    }
}

/// What was sent after an answer is admitted after what was answered.
fn order(exchanges: &[&Exchange], admissions: &Admissions<'_>, found: &mut Found) {
    for (n, later) in exchanges.iter().enumerate() {
        let Some((first, ..)) = admissions.get(later) else {
            continue;
        };
        let answered = |one: &&&Exchange| one.ended.is_some_and(|ended| ended <= later.sent);
        let before = exchanges[..n].iter().filter(answered);
        let admitted = before.filter_map(|one| Some((one, admissions.get(one)?.1)));
        if let Some((earlier, last)) = admitted.max_by_key(|(_, last)| *last)
            && last > *first
        {
            let what = format!(
                "{} is admitted after {}, which followed it",
                earlier.id, later.id
            );
            return found.add(Invariant::I6, last, what);
        }
    }
}

/// A deleted session never answers again.
fn end(exchanges: &[&Exchange], found: &mut Found) {
    let is_end = |one: &&&Exchange| one.asked == Asked::Delete && is_answered(one);
    let ends = exchanges.iter().filter(is_end);
    let Some(ended) = ends.filter_map(|one| one.ended).min() else {
        return;
    };
    for exchange in exchanges.iter().filter(|one| one.sent > ended) {
        if is_answered(exchange) {
            let what = format!("{} is answered in a deleted session", exchange.id);
            found.add(Invariant::I12, exchange.ended.unwrap_or_default(), what);
        }
    }
}

/// A log level holds until the next.
fn levels(exchanges: &[&Exchange], found: &mut Found) {
    // What is in force at least, and since when for sure.
    let mut least = 0;
    for exchange in exchanges {
        match (&exchange.asked, &exchange.outcome) {
            (Asked::SetLevel(level), Outcome::Answered(_)) => least = rank(level),
            (Asked::SetLevel(_), Outcome::Refused(_)) => {}
            (Asked::SetLevel(level), _) => least = least.min(rank(level)),
            (Asked::Call, Outcome::Answered(heard)) => {
                if let Some(level) = heard.iter().find(|level| rank(level) < least) {
                    let what = format!("{} hears {level}, below {}", exchange.id, LEVELS[least]);
                    found.add(Invariant::I2, exchange.ended.unwrap_or_default(), what);
                }
            }
            _ => {}
        }
    }
}

fn rank(level: &str) -> usize {
    let at = LEVELS.iter().position(|known| *known == level);
    at.unwrap_or_default()
}

/// A session ends with its client's word, or with the loss of its shard's owner.
fn memory(
    exchanges: &[&Exchange],
    admissions: &Admissions<'_>,
    events: &[Event],
    found: &mut Found,
) {
    let Some(gone) = exchanges.iter().find(|one| one.outcome == Outcome::Gone) else {
        return;
    };
    let deleted = exchanges
        .iter()
        .any(|one| one.asked == Asked::Delete && one.sent < gone.sent);
    let shard = exchanges.iter().find_map(|one| admissions.get(one));
    let (Some(opened), Some((.., shard)), false) = (exchanges.first(), shard, deleted) else {
        return;
    };
    let ended = gone.ended.unwrap_or_default();
    let lost = events.iter().any(|event| {
        let by = matches!(
            &event.step,
            Step::Owner { shard: of, by: Change::FailedOver | Change::First, .. } if of == shard
        );
        by && event.at >= opened.sent && event.at <= ended
    });
    if !lost {
        let what = format!(
            "{} finds its session gone; shard {shard} had no new owner",
            gone.id
        );
        found.add(Invariant::I2, ended, what);
    }
}

fn is_answered(exchange: &Exchange) -> bool {
    matches!(exchange.outcome, Outcome::Answered(_))
}
