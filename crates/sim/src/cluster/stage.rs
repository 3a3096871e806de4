//! What all hosts of one run share: who lives, what was seen, and what is still to be
//! done to them. None of it is reachable for the product's code.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::scenario::{Crash, Order, REGISTER, Scenario};
use crate::history::{Event, Exchange, Run, Step};

/// One run's stage; clones share it.
#[derive(Clone)]
pub(super) struct Stage(Arc<Inner>);

struct Inner {
    scenario: Scenario,
    hosts: Mutex<BTreeMap<String, Host>>,
    seen: Mutex<Seen>,
    orders: Mutex<VecDeque<(Duration, Order)>>,
    crashes: Mutex<Vec<Crash>>,
    doomed: Mutex<Vec<Crash>>,
    /// Who has ended by himself.
    ended: Mutex<Vec<String>>,
    /// Pairs of hosts that do not hear each other.
    cuts: Mutex<BTreeSet<(String, String)>>,
    closing: AtomicBool,
}

#[derive(Default)]
struct Seen {
    events: Vec<Event>,
    exchanges: Vec<Exchange>,
    runs: Vec<Run>,
    now: Duration,
}

/// One machine, and the process on it.
#[derive(Default)]
struct Host {
    life: u64,
    dead: Arc<AtomicBool>,
    down: Option<Down>,
    shutdown: CancellationToken,
}

/// How a host that runs nothing meets who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Down {
    /// The machine lives: it refuses.
    Refuses,
    /// The machine is gone: nobody answers.
    Silent,
}

/// A process in one life, as its own code sees it.
#[derive(Clone)]
pub(super) struct Here {
    pub(super) stage: Stage,
    pub(super) name: String,
    pub(super) life: u64,
    /// It was killed: nothing leaves it any more.
    pub(super) dead: Arc<AtomicBool>,
    /// Fires when it is asked to end.
    pub(super) shutdown: CancellationToken,
}

impl Here {
    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Itself, as an event names it.
    pub(super) fn owner(&self) -> String {
        format!("{}#{}", self.name, self.life)
    }

    /// Records a step of this process.
    pub(super) fn did(&self, step: Step) {
        self.stage.record(&self.name, step);
    }
}

impl Stage {
    pub(super) fn new(scenario: Scenario) -> Self {
        Self(Arc::new(Inner {
            hosts: Mutex::default(),
            seen: Mutex::default(),
            orders: Mutex::new(scenario.orders.clone().into()),
            crashes: Mutex::new(scenario.crashes.clone()),
            doomed: Mutex::default(),
            ended: Mutex::default(),
            cuts: Mutex::default(),
            closing: AtomicBool::default(),
            scenario,
        }))
    }

    pub(super) fn scenario(&self) -> &Scenario {
        &self.0.scenario
    }

    /// A process begins to run on a host.
    pub(super) fn start(&self, name: &str) -> Here {
        let here = {
            let mut hosts = self.0.hosts.lock();
            let host = hosts.entry(name.to_owned()).or_default();
            *host = Host {
                life: host.life + 1,
                ..Host::default()
            };
            Here {
                stage: self.clone(),
                name: name.to_owned(),
                life: host.life,
                dead: Arc::clone(&host.dead),
                shutdown: host.shutdown.clone(),
            }
        };
        here.did(Step::Started);
        here
    }

    /// The time on the stage.
    pub(super) fn now(&self) -> Duration {
        let mut seen = self.0.seen.lock();
        if let Some(now) = turmoil::sim_elapsed() {
            seen.now = seen.now.max(now);
        }
        seen.now
    }

    /// The time between two steps of the simulation, when no host runs.
    pub(super) fn set_time(&self, now: Duration) {
        self.0.seen.lock().now = now;
    }

    /// Records a step of a process, unless it is dead; who was to die of it does.
    pub(super) fn record(&self, name: &str, step: Step) {
        // What the register stores is there, whatever becomes of its process.
        let is_dead = name != REGISTER && {
            let hosts = self.0.hosts.lock();
            let host = hosts.get(name);
            host.is_none_or(|host| host.dead.load(Ordering::Relaxed))
        };
        if is_dead {
            return;
        }
        if step == Step::Ended {
            self.0.ended.lock().push(name.to_owned());
        }
        let event = self.record_fault(name, step);
        self.strike(&event);
    }

    /// Records what happens to a host.
    pub(super) fn record_fault(&self, name: &str, step: Step) -> Event {
        let event = Event {
            at: self.now(),
            host: name.to_owned(),
            life: self.0.hosts.lock().get(name).map_or(0, |host| host.life),
            step,
        };
        self.0.seen.lock().events.push(event.clone());
        event
    }

    /// Kills who is to die right after this event.
    fn strike(&self, event: &Event) {
        let mut due = Vec::new();
        self.0.crashes.lock().retain_mut(|crash| {
            let hit = crash.after.hits(event);
            if hit {
                due.push(crash.clone());
            }
            !hit
        });
        for crash in due {
            let victim = crash.victim.of(event);
            let crash = Crash {
                victim: super::scenario::Victim::Host(victim.clone()),
                ..crash
            };
            if let Some(host) = self.0.hosts.lock().get(&victim) {
                host.dead.store(true, Ordering::Relaxed);
            }
            self.0.doomed.lock().push(crash);
        }
    }

    /// Who died since the last time.
    pub(super) fn take_doomed(&self) -> Vec<Crash> {
        std::mem::take(&mut *self.0.doomed.lock())
    }

    /// Who ended since the last time.
    pub(super) fn take_ended(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.ended.lock())
    }

    /// Nobody dies of a step any more.
    pub(super) fn forgive(&self, all: bool) {
        if all {
            self.0.crashes.lock().clear();
        }
    }

    /// A host runs nothing from now on.
    pub(super) fn put_down(&self, name: &str, down: Down) {
        if let Some(host) = self.0.hosts.lock().get_mut(name) {
            host.dead.store(true, Ordering::Relaxed);
            host.down = Some(down);
        }
    }

    /// How a host meets who connects, if it runs nothing.
    pub(super) fn down(&self, name: &str) -> Option<Down> {
        self.0.hosts.lock().get(name)?.down
    }

    pub(super) fn is_up(&self, name: &str) -> bool {
        let hosts = self.0.hosts.lock();
        hosts.get(name).is_some_and(|host| host.down.is_none())
    }

    /// Two hosts hear each other, or not.
    pub(super) fn set_cut(&self, a: &str, b: &str, is_cut: bool) {
        let mut cuts = self.0.cuts.lock();
        match is_cut {
            true => cuts.insert(pair(a, b)),
            false => cuts.remove(&pair(a, b)),
        };
    }

    pub(super) fn is_cut(&self, a: &str, b: &str) -> bool {
        self.0.cuts.lock().contains(&pair(a, b))
    }

    /// Clients are to begin nothing more.
    pub(super) fn close(&self) {
        self.0.closing.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_closing(&self) -> bool {
        self.0.closing.load(Ordering::Relaxed)
    }

    /// Whether nothing of a client is under way.
    pub(super) fn is_quiet(&self) -> bool {
        let seen = self.0.seen.lock();
        seen.exchanges
            .iter()
            .all(|exchange| exchange.ended.is_some())
    }

    /// Asks a process to end.
    pub(super) fn ask_to_end(&self, name: &str) {
        let token = self
            .0
            .hosts
            .lock()
            .get(name)
            .map(|host| host.shutdown.clone());
        if let Some(token) = token.filter(|token| !token.is_cancelled()) {
            self.record(name, Step::Asked);
            token.cancel();
        }
    }

    /// The next order, if it is due; else when it is.
    pub(super) fn next_order(&self) -> Option<(Duration, Order)> {
        self.0.orders.lock().front().cloned()
    }

    pub(super) fn order_given(&self) {
        self.0.orders.lock().pop_front();
    }

    /// A message of a client is on its way; gives its number.
    pub(super) fn sent(&self, exchange: Exchange) -> usize {
        let mut seen = self.0.seen.lock();
        seen.exchanges.push(exchange);
        seen.exchanges.len() - 1
    }

    /// What became of it.
    pub(super) fn ended(&self, number: usize, end: impl FnOnce(&mut Exchange)) {
        let now = self.now();
        let mut seen = self.0.seen.lock();
        if let Some(exchange) = seen.exchanges.get_mut(number) {
            exchange.ended = Some(now);
            end(exchange);
        }
    }

    /// The upstream runs a call, unless who has it run is dead.
    pub(super) fn ran(&self, id: &str, by: &Here) {
        if by.is_dead() {
            return;
        }
        let run = Run {
            id: id.to_owned(),
            at: self.now(),
            by: by.owner(),
        };
        self.0.seen.lock().runs.push(run);
    }

    /// Looks at what clients sent and saw so far.
    pub(super) fn look<T>(&self, look: impl FnOnce(&[Exchange]) -> T) -> T {
        look(&self.0.seen.lock().exchanges)
    }

    /// All that was seen.
    pub(super) fn history(&self) -> crate::history::History {
        let mut seen = self.0.seen.lock();
        let seen = std::mem::take(&mut *seen);
        crate::history::History {
            healed: None,
            durable: false,
            exchanges: seen.exchanges,
            runs: seen.runs,
            events: seen.events,
            end: seen.now,
        }
    }
}

fn pair(a: &str, b: &str) -> (String, String) {
    let (first, second) = if a < b { (a, b) } else { (b, a) };
    (first.to_owned(), second.to_owned())
}
