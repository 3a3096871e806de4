//! Liveness and readiness.
//!
//! A process is live while it answers. It is ready when every named condition
//! is, and never again once it drains.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use serde::Serialize;

/// The readiness of one process; clones share it.
///
/// With no condition registered it is ready, so register all conditions before
/// the admin server answers its first probe.
#[derive(Clone, Debug, Default)]
pub struct Health {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    draining: AtomicBool,
    conditions: Mutex<BTreeMap<String, Readiness>>,
}

/// Whether one condition holds, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether this condition lets the process be ready.
    pub ready: bool,
    /// The reason in words, for the operator who reads `/readyz`.
    pub why: String,
}

/// A snapshot of [`Health`]: the body of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// All conditions are ready and the process does not drain.
    pub ready: bool,
    /// The process is on its way out.
    pub draining: bool,
    /// Every condition by name.
    pub conditions: BTreeMap<String, Readiness>,
}

impl Health {
    /// Starts ready, with no conditions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a condition, not ready until [`Condition::set`] says so.
    ///
    /// The same name gives the same condition. It stays registered when the
    /// handle is dropped: what became silent keeps its last word.
    #[must_use]
    pub fn condition(&self, name: impl Into<String>) -> Condition {
        let name = name.into();
        let starting = || Readiness {
            ready: false,
            why: "starting".to_owned(),
        };
        let mut conditions = self.state.conditions.lock();
        conditions.entry(name.clone()).or_insert_with(starting);
        Condition {
            state: self.state.clone(),
            name,
        }
    }

    /// Turns the process unready for good.
    pub fn drain(&self) {
        self.state.draining.store(true, Ordering::Relaxed);
    }

    /// A consistent view of all conditions.
    #[must_use]
    pub fn report(&self) -> Report {
        let conditions = self.state.conditions.lock().clone();
        let draining = self.state.draining.load(Ordering::Relaxed);
        Report {
            ready: !draining && conditions.values().all(|condition| condition.ready),
            draining,
            conditions,
        }
    }
}

/// One named reason to be unready; clones set the same one.
#[derive(Clone, Debug)]
pub struct Condition {
    state: Arc<State>,
    name: String,
}

impl Condition {
    /// Says whether the condition holds now, and why; a change is logged.
    pub fn set(&self, ready: bool, why: impl Into<String>) {
        let now = Readiness {
            ready,
            why: why.into(),
        };
        let mut conditions = self.state.conditions.lock();
        let before = conditions.insert(self.name.clone(), now.clone());
        drop(conditions);
        if before.is_none_or(|before| before.ready != ready) {
            tracing::info!(
                condition = self.name,
                ready,
                why = now.why,
                "readiness changed"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_ready_only_when_every_condition_is() {
        let health = Health::new();
        assert!(health.report().ready);
        let (links, map) = (health.condition("links"), health.condition("map"));
        assert!(!health.report().ready);
        links.set(true, "2 workers");
        assert!(!health.report().ready);
        map.set(true, "version 7");
        assert!(health.report().ready);
        links.set(false, "no worker answers");
        let report = health.report();
        assert!(!report.ready);
        assert_eq!(report.conditions["links"].why, "no worker answers");
    }

    #[test]
    fn asking_twice_for_a_condition_keeps_its_state() {
        let health = Health::new();
        health.condition("map").set(true, "version 1");
        let again = health.condition("map");
        assert!(health.report().ready);
        again.set(false, "stale");
        assert_eq!(health.report().conditions.len(), 1);
        assert!(!health.report().ready);
    }

    #[test]
    fn draining_is_for_good() {
        let health = Health::new();
        let map = health.condition("map");
        let clone = health.clone();
        clone.drain();
        map.set(true, "version 1");
        let report = health.report();
        assert!(report.draining && !report.ready);
    }
}
