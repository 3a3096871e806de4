//! What a session is owed: its order (I6), its end (I12), and that it is remembered
//! (I2).

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Found, Invariant};
use crate::history::{Asked, Change, Event, Exchange, History, Outcome, STORE, Step};

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
        levels(exchanges, &admissions, history, found);
        memory(exchanges, &admissions, history, found);
    }
}

/// When each request was admitted, and for which shard in which epoch.
struct Admissions<'a>(BTreeMap<&'a str, Vec<Admission>>);

#[derive(Clone, Copy)]
struct Admission {
    at: Duration,
    shard: u16,
    epoch: u64,
}

impl<'a> Admissions<'a> {
    fn of(events: &'a [Event]) -> Self {
        let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for event in events {
            if let Step::Admitted { shard, epoch, id } = &event.step {
                all.entry(id.as_str()).or_default().push(Admission {
                    at: event.at,
                    shard: *shard,
                    epoch: *epoch,
                });
            }
        }
        Self(all)
    }

    fn of_one(&self, exchange: &Exchange) -> &[Admission] {
        let all = self.0.get(exchange.id.as_str());
        all.map_or(&[], Vec::as_slice)
    }
}

/// What was sent after an answer is admitted after what was answered. What an owner
/// that has a successor admits late, not knowing of it, is out of the order: it comes
/// under an earlier epoch.
fn order(exchanges: &[&Exchange], admissions: &Admissions<'_>, found: &mut Found) {
    for (n, later) in exchanges.iter().enumerate() {
        let Some(first) = admissions.of_one(later).first() else {
            continue;
        };
        let answered = |one: &&&Exchange| one.ended.is_some_and(|ended| ended <= later.sent);
        for earlier in exchanges[..n].iter().filter(answered) {
            let mut all = admissions.of_one(earlier).iter();
            let late = all.find(|one| one.at > first.at && one.epoch >= first.epoch);
            if let Some(late) = late {
                let what = format!(
                    "{} is admitted after {}, which followed it",
                    earlier.id, later.id
                );
                return found.add(Invariant::I6, late.at, what);
            }
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
fn levels(
    exchanges: &[&Exchange],
    admissions: &Admissions<'_>,
    history: &History,
    found: &mut Found,
) {
    for call in exchanges {
        let Outcome::Answered(heard) = &call.outcome else {
            continue;
        };
        let least = in_force(exchanges, call);
        let ended = call.ended.unwrap_or_default();
        let Some(level) = heard.iter().find(|level| rank(level) < least) else {
            continue;
        };
        if Loss::of(exchanges, admissions, history, ended).is_none_or(|loss| !loss.is_excused()) {
            let what = format!("{} hears {level}, below {}", call.id, LEVELS[least]);
            found.add(Invariant::I2, ended, what);
        }
    }
}

/// The lowest level that may be in force during a call: the last one that was
/// acknowledged before it, or any that may have come to hold since.
fn in_force(exchanges: &[&Exchange], call: &Exchange) -> usize {
    let ended = call.ended.unwrap_or(Duration::MAX);
    let (mut acknowledged, mut unsure) = ((Duration::ZERO, 0), usize::MAX);
    for one in exchanges.iter().filter(|one| one.sent < ended) {
        let Asked::SetLevel(level) = &one.asked else {
            continue;
        };
        match (&one.outcome, one.ended) {
            (Outcome::Refused(_), _) => {}
            (Outcome::Answered(_), Some(known)) if known <= call.sent => {
                acknowledged = acknowledged.max((known, rank(level)));
            }
            _ => unsure = unsure.min(rank(level)),
        }
    }
    acknowledged.1.min(unsure)
}

fn rank(level: &str) -> usize {
    let at = LEVELS.iter().position(|known| *known == level);
    at.unwrap_or_default()
}

/// A session ends with its client's word, or with the loss of its shard's owner.
fn memory(
    exchanges: &[&Exchange],
    admissions: &Admissions<'_>,
    history: &History,
    found: &mut Found,
) {
    let Some(gone) = exchanges.iter().find(|one| one.outcome == Outcome::Gone) else {
        return;
    };
    let deleted = exchanges
        .iter()
        .any(|one| one.asked == Asked::Delete && Some(one.sent) <= gone.ended);
    let ended = gone.ended.unwrap_or_default();
    let loss = match Loss::of(exchanges, admissions, history, ended) {
        Some(loss) if !deleted && !loss.is_excused() => loss,
        _ => return,
    };
    let what = format!("{} finds its session gone; ", gone.id);
    let why = match loss.deposed {
        false => format!("shard {} had no new owner", loss.shard),
        true => "the store has it".to_owned(),
    };
    found.add(Invariant::I2, ended, what + &why);
}

/// What may have had a session forgotten until some time.
struct Loss {
    shard: u16,
    /// Its shard's owner was lost.
    deposed: bool,
    /// There is no store, or it could not say what it holds.
    troubled: bool,
}

impl Loss {
    /// `None` for a session in which nothing was admitted.
    fn of(
        exchanges: &[&Exchange],
        admissions: &Admissions<'_>,
        history: &History,
        until: Duration,
    ) -> Option<Self> {
        let opened = exchanges.first()?;
        let shard = exchanges
            .iter()
            .find_map(|one| admissions.of_one(one).first())?
            .shard;
        let mut before = history.events.iter().filter(|event| event.at <= until);
        let troubled = !history.durable || before.clone().any(troubles);
        let deposed = before.any(|event| event.at >= opened.sent && deposes(event, shard));
        Some(Self {
            shard,
            deposed,
            troubled,
        })
    }

    /// A session ends with its owner, unless a store has it.
    const fn is_excused(&self) -> bool {
        self.deposed && self.troubled
    }
}

/// Whether a shard's owner was lost.
fn deposes(event: &Event, shard: u16) -> bool {
    matches!(
        &event.step,
        Step::Owner { shard: of, by: Change::FailedOver | Change::First, .. } if *of == shard
    )
}

/// Whether somebody may not reach the store, or it may have lost something.
fn troubles(event: &Event) -> bool {
    match &event.step {
        Step::Store(_) => true,
        Step::Network { a, b, .. } => a == STORE || b == STORE,
        _ => false,
    }
}

fn is_answered(exchange: &Exchange) -> bool {
    matches!(exchange.outcome, Outcome::Answered(_))
}
