//! What the calls of a load add up to.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::load::{Call, Failure};

/// The calls that did not do what they should.
pub(crate) fn failed(calls: &[Call]) -> Vec<(usize, &Failure)> {
    let failed = calls.iter().filter_map(|call| {
        let failure = call.outcome.as_ref().err()?;
        Some((call.client, failure))
    });
    failed.collect()
}

/// The same of one client.
pub(crate) fn failures(calls: &[Call], client: usize) -> Vec<&Failure> {
    let failed = failed(calls).into_iter();
    let own = failed.filter(|(other, _)| *other == client);
    own.map(|(_, failure)| failure).collect()
}

/// Checks that every call of every client was answered as it should.
pub(crate) fn none_failed(calls: &[Call]) {
    let failed = failed(calls);
    let some = &failed[..failed.len().min(5)];
    assert!(
        failed.is_empty(),
        "{} of {} failed: {some:#?}",
        failed.len(),
        calls.len()
    );
}

/// Prints the figures of a scenario.
pub(crate) fn print(scenario: &str, calls: &[Call]) {
    let mut took: Vec<_> = calls.iter().map(|call| call.ended - call.sent).collect();
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100];
    let lost = |call: &&Call| matches!(call.outcome, Err(Failure::Lost(_)));
    let lost = calls.iter().filter(lost).count();
    eprintln!(
        "{scenario}: sent {}, answered {}, failed {}, p50 {:?}, p99 {:?}, max {:?}",
        calls.len(),
        calls.len() - lost,
        failed(calls).len(),
        at(50),
        at(99),
        at(100),
    );
}

/// From `event` until every client had a call answered that it sent after it.
pub(crate) fn full_service(calls: &[Call], event: Instant) -> Duration {
    let mut first = BTreeMap::new();
    for call in calls {
        if call.sent > event && call.outcome.is_ok() {
            let earliest = first.entry(call.client).or_insert(call.ended);
            *earliest = call.ended.min(*earliest);
        }
    }
    let clients = crate::load::LEGACY + crate::load::MODERN;
    assert_eq!(first.len(), clients, "not all clients are served again");
    first.into_values().max().unwrap() - event
}
