//! Whole rotations at random: processes follow the Secret in their own time, and what one
//! look at it leaves behind is all that the next one knows, as if the operator had been
//! restarted in between.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::due::Held;
use super::super::fresh;
use super::*;

const HOUR: u64 = 3600;
const SETTLE: u64 = 300;
const LIFETIME: u64 = 24 * HOUR;

/// A worker or an edge.
struct Process {
    is_edge: bool,
    /// A worker that answers, or an edge that is linked: the operator hears of its keys.
    is_heard: bool,
    /// Which of the rings it mounted last.
    mounted: usize,
}

/// A Secret and those who follow it.
struct Cluster {
    secret: Secret,
    /// The keys that it has held one after the other, the minting one first, and since when.
    rings: Vec<(u64, Vec<u64>)>,
    processes: Vec<Process>,
    /// When each key was minted with last.
    minted: BTreeMap<u64, u64>,
    now: u64,
    times: KeyTimes,
    /// Makes keys.
    made: u64,
}

/// What happens.
#[derive(Clone, Debug)]
enum Event {
    /// Time passes, in seconds.
    Passes(u64),
    /// A process mounts what the Secret holds.
    Mounts(usize),
    /// All do.
    AllMount,
    /// A process is heard of no more, or again.
    Turns(usize),
    /// A process starts, maybe with a ring of a moment ago.
    Starts { is_edge: bool, behind: usize },
    /// A process ends.
    Ends(usize),
    /// Somebody asks for another key.
    Asked,
    /// An operator looks; it may end, or be overtaken, before it has written.
    Looks { is_written: bool },
}

fn event() -> impl Strategy<Value = Event> {
    let starts = (any::<bool>(), 0..3_usize);
    prop_oneof![
        3 => (0..2 * SETTLE).prop_map(Event::Passes),
        3 => (0..10 * HOUR).prop_map(Event::Passes),
        4 => any::<usize>().prop_map(Event::Mounts),
        3 => Just(Event::AllMount),
        2 => any::<usize>().prop_map(Event::Turns),
        1 => starts.prop_map(|(is_edge, behind)| Event::Starts { is_edge, behind }),
        1 => any::<usize>().prop_map(Event::Ends),
        1 => Just(Event::Asked),
        8 => prop::bool::weighted(0.8).prop_map(|is_written| Event::Looks { is_written }),
    ]
}

/// From one that fills the ring to one that lets it rest.
fn hours() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![2, 8, 72])
}

impl Cluster {
    /// Two workers and two edges, of a ring that is rotated so often.
    fn new(hours: u64) -> Self {
        let times = KeyTimes {
            period: Duration::from_secs(hours * HOUR),
            settle: Duration::from_secs(SETTLE),
            lifetime: Duration::from_secs(LIFETIME),
        };
        let (secret, now) = (fresh("k"), 1_800_000_000);
        let process = |is_edge| Process {
            is_edge,
            is_heard: true,
            mounted: 0,
        };
        Self {
            rings: vec![(now, read("k", &secret).unwrap().fingerprints())],
            secret,
            processes: [false, false, true, true].map(process).into(),
            minted: BTreeMap::new(),
            now,
            times,
            made: 0,
        }
    }

    /// The keys of now.
    fn keys(&self) -> &[u64] {
        &self.rings[self.newest()].1
    }

    fn newest(&self) -> usize {
        self.rings.len() - 1
    }

    /// The ring that is mounted everywhere by now, also where nobody can be asked.
    fn settled(&self) -> usize {
        let is_settled = |(since, _): &(u64, Vec<u64>)| since + SETTLE <= self.now;
        self.rings.iter().rposition(is_settled).unwrap_or(0)
    }

    fn held(&self, process: &Process) -> &[u64] {
        &self.rings[process.mounted].1
    }

    fn happens(&mut self, event: &Event) {
        let newest = self.newest();
        match event {
            Event::Passes(seconds) => self.now += seconds,
            Event::Mounts(number) => self.with(*number, |process| process.mounted = newest),
            Event::AllMount => self.each(|process| process.mounted = newest),
            Event::Turns(number) => self.with(*number, |process| process.is_heard ^= true),
            Event::Starts { is_edge, behind } => self.processes.push(Process {
                is_edge: *is_edge,
                is_heard: true,
                mounted: newest.saturating_sub(*behind).max(self.settled()),
            }),
            Event::Ends(number) => {
                if let Some(place) = number.checked_rem(self.processes.len()) {
                    self.processes.swap_remove(place);
                }
            }
            Event::Asked => self.ask(),
            Event::Looks { is_written } => {
                let next = self.look();
                self.write(next.filter(|_| *is_written));
            }
        }
        let settled = self.settled();
        self.each(|process| {
            if process.is_edge && !process.is_heard {
                process.mounted = process.mounted.max(settled);
            }
        });
    }

    fn with(&mut self, number: usize, change: impl FnOnce(&mut Process)) {
        if let Some(place) = number.checked_rem(self.processes.len()) {
            change(&mut self.processes[place]);
        }
    }

    fn each(&mut self, change: impl FnMut(&mut Process)) {
        self.processes.iter_mut().for_each(change);
    }

    fn ask(&mut self) {
        let annotations = self.secret.annotations_mut();
        annotations.insert(ASKED.to_owned(), "now".to_owned());
    }

    /// What is to be written after a look.
    fn look(&mut self) -> Option<Secret> {
        let ring = read("k", &self.secret).unwrap();
        let situation = Situation {
            keys: &ring.fingerprints(),
            history: &history(&self.secret),
            asked: is_asked(&self.secret),
            heard: &self.heard(),
            now: self.now,
            times: self.times,
        };
        let decision = situation.decide();
        self.made += 1;
        let mut entropy = [0; 32];
        entropy[..8].copy_from_slice(&self.made.to_be_bytes());
        next(&self.secret, ring, decision, entropy, self.now)
    }

    fn write(&mut self, next: Option<Secret>) {
        let Some(next) = next else { return };
        self.secret = next;
        let keys = read("k", &self.secret).unwrap().fingerprints();
        if keys != self.keys() {
            self.rings.push((self.now, keys));
        }
    }

    fn heard(&self) -> Heard {
        let workers = self.processes.iter().filter(|process| !process.is_edge);
        let held = |worker: &Process| Held {
            keys: self.held(worker).to_vec(),
            lacked: self.lacked(self.held(worker)),
        };
        let told = workers.map(|worker| worker.is_heard.then(|| held(worker)));
        let pods = (0..).map(|number: u32| format!("worker-{number}"));
        pods.zip(told).collect()
    }

    /// Those of a worker's keys that some edge lacks.
    fn lacked(&self, keys: &[u64]) -> Vec<u64> {
        let all = self.processes.iter();
        let linked: Vec<_> = all.filter(|one| one.is_edge && one.is_heard).collect();
        let is_lacked = |key: &&u64| linked.iter().any(|edge| !self.held(edge).contains(key));
        keys.iter().filter(is_lacked).copied().collect()
    }

    fn mint(&mut self) {
        let workers = self.processes.iter().filter(|process| !process.is_edge);
        let keys: Vec<_> = workers.map(|worker| self.held(worker)[0]).collect();
        let now = self.now;
        self.minted.extend(keys.into_iter().map(|key| (key, now)));
    }

    /// Whoever is asked opens all that can be presented, and the ring is none too large.
    fn check(&self) -> Result<(), TestCaseError> {
        let minted = self.minted.iter();
        let presented = minted.filter(|(_, at)| self.now - **at <= LIFETIME);
        for (key, _) in presented {
            prop_assert!(self.keys().contains(key), "{key:016x} was dropped");
            for process in &self.processes {
                let opens = self.held(process).contains(key);
                prop_assert!(opens, "{key:016x} is not opened everywhere");
            }
        }
        prop_assert!(self.keys().len() <= KeyRing::MAX_KEYS);
        Ok(())
    }

    /// The same after something has happened, while all workers mint.
    fn goes_on(&mut self, event: &Event) -> Result<(), TestCaseError> {
        self.happens(event);
        self.mint();
        self.check()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn no_session_ends_by_a_rotation(
        hours in hours(),
        events in prop::collection::vec(event(), 1..150),
    ) {
        let mut cluster = Cluster::new(hours);
        for event in &events {
            cluster.goes_on(event)?;
        }
    }

    #[test]
    fn the_newest_key_mints_once_all_report_it(
        hours in hours(),
        events in prop::collection::vec(event(), 0..60),
    ) {
        let mut cluster = Cluster::new(hours);
        for event in &events {
            cluster.goes_on(event)?;
        }
        let starts = Event::Starts { is_edge: false, behind: 0 };
        cluster.goes_on(&starts)?;
        cluster.goes_on(&Event::Asked)?;
        cluster.each(|process| process.is_heard = true);
        let before = cluster.keys().to_vec();
        // A look an hour, for three days: a full ring waits for the first key that may go.
        for _ in 0..72 {
            for event in [Event::AllMount, Event::Passes(HOUR), Event::Looks { is_written: true }] {
                cluster.goes_on(&event)?;
            }
        }
        prop_assert!(!is_asked(&cluster.secret));
        prop_assert!(!before.contains(&cluster.keys()[0]), "{}", history(&cluster.secret));
    }
}
