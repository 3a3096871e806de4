//! Does to the cluster what its scenario says, and undoes it in time.

use std::collections::BTreeMap;
use std::time::Duration;

use hexagram_core::ShardCount;
use turmoil::Sim;

use super::register::Disk;
use super::scenario::{
    CLIENTS, CONTROL, Fault, REGISTER, STORE, Scenario, StoreTrouble, Victim, edge, worker,
};
use super::stage::{Down, Stage};
use super::store::Vault;
use crate::history::Step;

/// What happens at a time.
#[derive(Clone, Debug)]
enum Act {
    Begin(Fault),
    Start(String),
    Heal(String, String),
    Mend(StoreTrouble),
}

/// What outlives the processes.
pub(super) struct Keeps {
    pub(super) disk: Disk,
    pub(super) vault: Vault,
}

impl Keeps {
    pub(super) fn new(shards: ShardCount) -> Self {
        Self {
            disk: Disk::new(shards),
            vault: Vault::default(),
        }
    }
}

/// The agenda of one run.
pub(super) struct Fate {
    hosts: Vec<String>,
    agenda: Vec<(Duration, Act)>,
    /// For how long a process stays away that was asked to end.
    leaving: BTreeMap<String, Duration>,
    /// Pairs that do not hear each other, and whether what they say comes late.
    cuts: BTreeMap<(String, String), bool>,
}

impl Fate {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let servers = (0..scenario.workers)
            .map(worker)
            .chain((0..scenario.edges).map(edge));
        let others = [CONTROL, REGISTER, CLIENTS].into_iter();
        let others = others.chain(scenario.store.then_some(STORE));
        let begin = |(at, fault): &(Duration, Fault)| (*at, Act::Begin(fault.clone()));
        Self {
            hosts: servers.chain(others.map(str::to_owned)).collect(),
            agenda: scenario.faults.iter().map(begin).collect(),
            leaving: BTreeMap::new(),
            cuts: BTreeMap::new(),
        }
    }

    /// Whether nothing more will happen.
    pub(super) fn is_over(&self) -> bool {
        self.agenda.is_empty() && self.leaving.is_empty()
    }

    /// Does what is due.
    pub(super) fn strike(&mut self, sim: &mut Sim<'_>, stage: &Stage, keeps: &Keeps) {
        let now = sim.elapsed();
        let mut scene = Scene { sim, stage, now };
        for crash in stage.take_doomed() {
            if let Victim::Host(host) = &crash.victim {
                self.kill(&mut scene, host, crash.machine, crash.away);
            }
        }
        self.see_off(&mut scene);
        let (due, later) = std::mem::take(&mut self.agenda)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.agenda = later;
        let due: Vec<(Duration, Act)> = due;
        for (_, act) in due {
            self.act(&mut scene, keeps, act);
        }
    }

    fn act(&mut self, scene: &mut Scene<'_, '_>, keeps: &Keeps, act: Act) {
        match act {
            Act::Begin(Fault::Kill {
                host,
                machine,
                away,
            }) => self.kill(scene, &host, machine, away),
            Act::Begin(Fault::End { host, away }) if scene.stage.is_up(&host) => {
                scene.stage.ask_to_end(&host);
                self.leaving.insert(host, away);
            }
            Act::Begin(Fault::End { .. }) => {}
            Act::Begin(Fault::Cut { a, b, lasts, late }) => self.cut(scene, a, b, lasts, late),
            Act::Begin(Fault::Wipe) => {
                keeps.disk.wipe();
                scene.stage.record_fault(REGISTER, Step::Forgot);
            }
            Act::Begin(Fault::Store { trouble, lasts }) => {
                self.trouble(scene, &keeps.vault, trouble, lasts);
            }
            Act::Mend(trouble) => mend(scene, &keeps.vault, trouble),
            Act::Start(host) => self.start(scene, &host),
            Act::Heal(a, b) => self.heal(scene, a, b),
        }
    }

    /// Something goes wrong with the store.
    fn trouble(
        &mut self,
        scene: &Scene<'_, '_>,
        vault: &Vault,
        trouble: StoreTrouble,
        lasts: Duration,
    ) {
        match trouble {
            StoreTrouble::Down => vault.set_down(true),
            StoreTrouble::Mute => vault.set_mute(true),
            StoreTrouble::Wiped => vault.wipe(),
            StoreTrouble::RolledBack => vault.back_up(),
        }
        let what = format!("{trouble:?}").to_lowercase();
        scene.stage.record_fault(STORE, Step::Store(what));
        if trouble != StoreTrouble::Wiped {
            self.agenda.push((scene.now + lasts, Act::Mend(trouble)));
        }
    }

    /// A process is gone at once, perhaps with its machine.
    fn kill(&mut self, scene: &mut Scene<'_, '_>, host: &str, machine: bool, away: Duration) {
        if !scene.stage.is_up(host) {
            return;
        }
        self.leaving.remove(host);
        scene.stage.record_fault(host, Step::Crashed { machine });
        let down = match machine {
            true => Down::Silent,
            false => Down::Refuses,
        };
        self.put_down(scene, host, down, away);
    }

    fn put_down(&mut self, scene: &mut Scene<'_, '_>, host: &str, down: Down, away: Duration) {
        scene.stage.put_down(host, down);
        if down == Down::Silent {
            let others = self.hosts.iter().filter(|other| *other != host);
            others.for_each(|other| scene.sim.partition(host, other.as_str()));
        }
        scene.sim.crash(host);
        let back = scene.now + away;
        self.agenda.push((back, Act::Start(host.to_owned())));
    }

    fn start(&self, scene: &mut Scene<'_, '_>, host: &str) {
        if scene.stage.down(host) == Some(Down::Silent) {
            for other in self.hosts.iter().filter(|other| *other != host) {
                if scene.stage.down(other) != Some(Down::Silent) {
                    self.join(scene, host, other);
                }
            }
        }
        scene.sim.bounce(host);
    }

    /// Puts the path between two living machines into the state that it is to be in.
    fn join(&self, scene: &Scene<'_, '_>, a: &str, b: &str) {
        scene.sim.repair(a, b);
        match self.cuts.get(&pair(a, b)) {
            Some(true) => scene.sim.hold(a, b),
            Some(false) => scene.sim.partition(a, b),
            None => {}
        }
    }

    fn cut(
        &mut self,
        scene: &mut Scene<'_, '_>,
        a: String,
        b: String,
        lasts: Duration,
        late: bool,
    ) {
        if self.cuts.insert(pair(&a, &b), late).is_some() {
            return;
        }
        let fault = if late { "held" } else { "cut" };
        scene.network(fault, &a, &b);
        scene.stage.set_cut(&a, &b, true);
        if !scene.is_gone(&a) && !scene.is_gone(&b) {
            self.join(scene, &a, &b);
        }
        self.agenda.push((scene.now + lasts, Act::Heal(a, b)));
    }

    fn heal(&mut self, scene: &mut Scene<'_, '_>, a: String, b: String) {
        let late = self.cuts.remove(&pair(&a, &b));
        scene.stage.set_cut(&a, &b, false);
        scene.network("healed", &a, &b);
        if scene.is_gone(&a) || scene.is_gone(&b) {
            return;
        }
        match late {
            Some(true) => scene.sim.release(a, b),
            _ => scene.sim.repair(a, b),
        }
    }

    /// Processes that ended by themselves.
    fn see_off(&mut self, scene: &mut Scene<'_, '_>) {
        for host in scene.stage.take_ended() {
            let away = self.leaving.remove(&host).unwrap_or_default();
            self.put_down(scene, &host, Down::Refuses, away);
        }
    }
}

fn mend(scene: &Scene<'_, '_>, vault: &Vault, trouble: StoreTrouble) {
    match trouble {
        StoreTrouble::Down => vault.set_down(false),
        StoreTrouble::Mute => vault.set_mute(false),
        StoreTrouble::RolledBack => vault.roll_back(),
        StoreTrouble::Wiped => {}
    }
    let what = format!("{trouble:?}").to_lowercase() + " no more";
    scene.stage.record_fault(STORE, Step::Store(what));
}

struct Scene<'a, 'b> {
    sim: &'a mut Sim<'b>,
    stage: &'a Stage,
    now: Duration,
}

impl Scene<'_, '_> {
    /// Whether nobody is to hear of a host.
    fn is_gone(&self, host: &str) -> bool {
        self.stage.down(host) == Some(Down::Silent)
    }

    fn network(&self, fault: &str, a: &str, b: &str) {
        let step = Step::Network {
            fault: fault.to_owned(),
            a: a.to_owned(),
            b: b.to_owned(),
        };
        self.stage.record_fault(CLIENTS, step);
    }
}

fn pair(a: &str, b: &str) -> (String, String) {
    let (first, second) = if a < b { (a, b) } else { (b, a) };
    (first.to_owned(), second.to_owned())
}
