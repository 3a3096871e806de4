//! The steps of the protocol, as the processes tell them in their logs.

use std::collections::BTreeMap;
use std::time::Duration;

use hexagram_runtime::clock::unix_millis;
use hexagram_sim::history::{Event, Step, Told};
use serde_json::Value;

/// What has a process tell them.
pub(crate) const LOG: [&str; 2] = ["--log=info,hexagram::steps=trace", "--log-format=json"];
const TARGET: &str = "hexagram::steps";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The clock of logs, and where a history begins on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Duration,
}

impl Clock {
    /// One that begins now.
    pub(crate) fn new() -> Self {
        let day = u64::try_from(DAY.as_millis()).unwrap();
        Self {
            start: Duration::from_millis(unix_millis() % day),
        }
    }

    /// The time of `2026-01-31T12:34:56.123456Z`; a history lasts less than a day.
    fn read(self, timestamp: &str) -> Option<Duration> {
        let (_, time) = timestamp.trim_end_matches('Z').split_once('T')?;
        let mut seconds = 0.0;
        for part in time.split(':') {
            seconds = seconds * 60.0 + part.parse::<f64>().ok()?;
        }
        let time = Duration::try_from_secs_f64(seconds).ok()?;
        Some((time + DAY).checked_sub(self.start)?).map(|since| match since >= DAY {
            true => since - DAY,
            false => since,
        })
    }
}

/// The log of one process in one of its lives.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) host: String,
    pub(crate) life: u64,
    pub(crate) text: String,
}

/// The steps in these logs, in the order in which they happened.
pub(crate) fn events(logs: &[Log], clock: Clock) -> Vec<Event> {
    let lives = lives(logs);
    let mut events: Vec<_> = logs
        .iter()
        .flat_map(|log| lines(log).filter_map(|line| event(log, line, clock, &lives)))
        .collect();
    events.sort_by_key(|event| event.at);
    events
}

/// The lines of a log. A process that was killed may have been writing.
fn lines(log: &Log) -> impl Iterator<Item = Value> {
    let lines = log.text.lines();
    lines.filter_map(|line| serde_json::from_str(line).ok())
}

/// The step that a line tells, if it does.
fn event(log: &Log, line: Value, clock: Clock, lives: &Lives) -> Option<Event> {
    let at = clock.read(line["timestamp"].as_str()?)?;
    if line["target"] != TARGET {
        return None;
    }
    let mut told: Told = serde_json::from_value(line).ok()?;
    if let Some(life) = lives.get(&told.owner) {
        life.clone_into(&mut told.owner);
    }
    Some(Event {
        at,
        host: log.host.clone(),
        life: log.life,
        step: told.step()?,
    })
}

/// Which life of a worker each incarnation is: `name#incarnation`, and `name#life`.
type Lives = BTreeMap<String, String>;

fn lives(logs: &[Log]) -> Lives {
    let mut lives = Lives::new();
    for log in logs {
        let own = lines(log).find_map(|line| line["incarnation"].as_u64());
        if let Some(incarnation) = own {
            let who = format!("{}#{}", log.host, log.life);
            lives.insert(format!("{}#{incarnation}", log.host), who);
        }
    }
    lives
}

/// For each request that was admitted, the shards that admitted it.
pub(crate) fn shards(events: &[Event]) -> BTreeMap<&str, Vec<u16>> {
    let mut shards: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for event in events {
        if let Step::Admitted { shard, id, .. } = &event.step {
            shards.entry(id.as_str()).or_default().push(*shard);
        }
    }
    shards
}
