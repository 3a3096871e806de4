//! What clients are owed: I2 and I3 as far as the upstream tells, I10, and service
//! after the last fault.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Found, Invariant, Limits};
use crate::history::{Asked, CLIENTS, Event, Exchange, History, Outcome, Step, served};

pub(super) fn check(history: &History, limits: &Limits, found: &mut Found) {
    runs(history, found);
    answers(history, limits, found);
    if let Some(healed) = history.healed {
        service(history, healed, limits, found);
    }
}

fn runs(history: &History, found: &mut Found) {
    let mut ran: BTreeMap<&str, u32> = BTreeMap::new();
    for run in &history.runs {
        let times = ran.entry(&run.id).or_default();
        *times += 1;
        if *times > 1 {
            let what = format!("{} runs again, at {}", run.id, run.by);
            found.add(Invariant::I3, run.at, what);
        }
    }
    let calls = history.exchanges.iter();
    for call in calls.filter(|call| call.asked == Asked::Call) {
        let has_run = ran.contains_key(call.id.as_str());
        let at = call.ended.unwrap_or(history.end);
        match &call.outcome {
            Outcome::Answered(_) if !has_run && !history.runs.is_empty() => {
                let what = format!("{} was answered and has not run", call.id);
                found.add(Invariant::I2, at, what);
            }
            Outcome::Refused(code) if has_run => {
                let what = format!("{} was refused with {code} and has run", call.id);
                found.add(Invariant::I3, at, what);
            }
            _ => {}
        }
    }
}

fn answers(history: &History, limits: &Limits, found: &mut Found) {
    let excuses = Excuses::of(&history.events, limits.slack);
    for exchange in &history.exchanges {
        let ended = exchange.ended.unwrap_or(history.end);
        let how = match &exchange.outcome {
            Outcome::Forgot(what) => {
                let what = format!("{}: {what}", exchange.id);
                found.add(Invariant::I2, ended, what);
                continue;
            }
            Outcome::Silent => "has no answer",
            Outcome::Broken => "lost its connection without an answer",
            _ => continue,
        };
        if !excuses.cover(exchange, ended) {
            let what = format!("{} {how}, and its edge lives", exchange.id);
            found.add(Invariant::I10, ended, what);
        }
    }
}

/// What ends connections between clients and edges, or keeps what is sent on them.
struct Excuses {
    /// Edge, from when, until when.
    times: Vec<(String, Duration, Duration)>,
    slack: Duration,
}

impl Excuses {
    fn of(events: &[Event], slack: Duration) -> Self {
        let (mut times, mut open) = (Vec::new(), BTreeMap::new());
        for event in events {
            match &event.step {
                Step::Crashed { .. } | Step::Asked | Step::Ended => {
                    times.push((event.host.clone(), event.at, event.at));
                }
                Step::Network { fault, a, b } => {
                    let Some(edge) = cut_from_clients(a, b) else {
                        continue;
                    };
                    match fault.as_str() {
                        "healed" => {
                            let since = open.remove(edge).unwrap_or_default();
                            times.push((edge.to_owned(), since, event.at));
                        }
                        _ => drop(open.insert(edge, event.at)),
                    }
                }
                _ => {}
            }
        }
        let rest = open.into_iter();
        times.extend(rest.map(|(edge, since)| (edge.to_owned(), since, Duration::MAX)));
        Self { times, slack }
    }

    /// Whether something befell the exchange's connection.
    fn cover(&self, exchange: &Exchange, ended: Duration) -> bool {
        self.times.iter().any(|(edge, since, until)| {
            let until = until.saturating_add(self.slack);
            *edge == exchange.edge && *since <= ended && until >= exchange.connected
        })
    }
}

/// The edge that a fault of the network cuts off from its clients, if it does.
fn cut_from_clients<'a>(a: &'a str, b: &'a str) -> Option<&'a str> {
    match (a == CLIENTS, b == CLIENTS) {
        (true, false) => Some(b),
        (false, true) => Some(a),
        _ => None,
    }
}

fn service(history: &History, healed: Duration, limits: &Limits, found: &mut Found) {
    let clients: BTreeSet<_> = history.exchanges.iter().map(|one| one.client).collect();
    for client in clients {
        let again = served(&history.exchanges, client, healed);
        if again.is_none_or(|at| at > healed + limits.healing) {
            let what = format!("client {client} is not served again");
            found.add(Invariant::Live, healed + limits.healing, what);
        }
    }
}
