//! Runs a scenario to its end.

use std::time::Duration;

use hexagram_core::ShardCount;
use turmoil::{Builder, Sim};

use super::client::Client;
use super::fate::{Fate, Keeps};
use super::hosts;
use super::recorder::Recorder;
use super::scenario::{CLIENTS, CONTROL, REGISTER, STORE, Scenario, edge, worker};
use super::stage::Stage;
use crate::history::{Exchange, History, Limits, served};

/// One turn of all hosts.
const TICK: Duration = Duration::from_millis(1);
/// Shortest way of a message.
const SHORTEST: Duration = Duration::from_micros(200);
/// What is asked of a cluster on the stage. A silent machine is found within four
/// seconds, and its connections are given up within three more.
pub const LIMITS: Limits = Limits {
    freeze: Duration::from_millis(250),
    moving: Duration::from_secs(15),
    grace: hosts::GRACE,
    healing: Duration::from_secs(20),
    slack: Duration::ZERO,
};
/// What was begun ends within this time: clients wait no longer.
const FINISHED: Duration = Duration::from_secs(20);
/// Of a connection, in segments.
const SEGMENTS: usize = 4096;

/// A run that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the simulation stopped: {0}")]
pub struct Trouble(String);

/// Runs a scenario; `loud`: prints the product's log.
///
/// # Errors
/// When the stage itself breaks down, rather than the cluster on it.
pub fn run(scenario: Scenario, loud: bool) -> Result<History, Trouble> {
    let stage = Stage::new(scenario);
    let recorder = Recorder::new(stage.clone(), loud);
    let _guard = tracing::subscriber::set_default(recorder);
    let mut play = Play::set_up(stage)?;
    play.until_healed()?;
    let healed = play.sim.elapsed();
    play.until_served(healed)?;
    play.finish()?;
    let mut history = play.stage.history();
    history.healed = Some(healed);
    history.durable = play.stage.scenario().store;
    Ok(history)
}

struct Play {
    sim: Sim<'static>,
    stage: Stage,
    keeps: Keeps,
    fate: Fate,
}

impl Play {
    fn set_up(stage: Stage) -> Result<Self, Trouble> {
        let scenario = stage.scenario().clone();
        let shards = ShardCount::try_from(scenario.shards);
        let shards = shards.map_err(|error| Trouble(error.to_string()))?;
        let mut this = Self {
            sim: Builder::new()
                .rng_seed(scenario.seed)
                .tick_duration(TICK)
                .simulation_duration(Duration::from_secs(3600))
                .min_message_latency(SHORTEST)
                .max_message_latency(scenario.latency)
                .tcp_capacity(SEGMENTS)
                .build(),
            keeps: Keeps::new(shards),
            fate: Fate::new(&scenario),
            stage,
        };
        this.add_control(shards, scenario.workers);
        this.add_servers(shards, &scenario);
        if scenario.store {
            this.add_store();
        }
        this.add_clients(scenario.legacy + scenario.modern);
        Ok(this)
    }

    fn add_control(&mut self, shards: ShardCount, workers: usize) {
        let (stage, disk) = (self.stage.clone(), self.keeps.disk.clone());
        self.sim.host(REGISTER, move || {
            let (disk, here) = (disk.clone(), stage.start(REGISTER));
            async move { Ok(disk.serve(here).await?) }
        });
        let stage = self.stage.clone();
        self.sim.host(CONTROL, move || {
            hosts::control(stage.start(CONTROL), shards, workers)
        });
    }

    fn add_servers(&mut self, shards: ShardCount, scenario: &Scenario) {
        for name in (0..scenario.workers).map(worker) {
            let (stage, host) = (self.stage.clone(), name.clone());
            let vault = scenario.store.then(|| self.keeps.vault.clone());
            let start = move || hosts::worker(stage.start(&host), shards, vault.clone());
            self.sim.host(name, start);
        }
        for name in (0..scenario.edges).map(edge) {
            let (stage, host) = (self.stage.clone(), name.clone());
            let start = move || hosts::edge(stage.start(&host), shards);
            self.sim.host(name, start);
        }
    }

    fn add_store(&mut self) {
        let (stage, vault) = (self.stage.clone(), self.keeps.vault.clone());
        self.sim.host(STORE, move || {
            let (vault, here) = (vault.clone(), stage.start(STORE));
            async move { Ok(vault.serve(here).await?) }
        });
    }

    fn add_clients(&mut self, count: usize) {
        let stage = self.stage.clone();
        self.sim.host(CLIENTS, move || {
            let here = stage.start(CLIENTS);
            async move {
                for number in 0..count {
                    tokio::spawn(Client::new(&here, number).run());
                }
                std::future::pending().await
            }
        });
    }

    fn step(&mut self) -> Result<(), Trouble> {
        let stepped = self.sim.step();
        stepped.map_err(|error| Trouble(error.to_string()))?;
        self.stage.set_time(self.sim.elapsed());
        self.fate.strike(&mut self.sim, &self.stage, &self.keeps);
        Ok(())
    }

    /// Until the last fault is over.
    fn until_healed(&mut self) -> Result<(), Trouble> {
        let chaos = self.stage.scenario().chaos;
        while self.sim.elapsed() < chaos || !self.fate.is_over() {
            self.stage.forgive(self.sim.elapsed() >= chaos);
            self.step()?;
        }
        Ok(())
    }

    /// Until every client was answered again and no shard moves.
    fn until_served(&mut self, healed: Duration) -> Result<(), Trouble> {
        while self.sim.elapsed() < healed + LIMITS.healing && !self.is_served(healed) {
            self.step()?;
        }
        Ok(())
    }

    fn is_served(&self, healed: Duration) -> bool {
        let map = self.keeps.disk.map();
        let rests = map.is_some_and(|map| map.entries().all(|(_, entry)| entry.plan().is_none()));
        let mut clients = 0..self.stage.scenario().clients();
        let is_served = |exchanges: &[Exchange]| {
            clients.all(|client| served(exchanges, client, healed).is_some())
        };
        rests && self.stage.look(is_served)
    }

    fn finish(&mut self) -> Result<(), Trouble> {
        self.stage.close();
        let end = self.sim.elapsed() + FINISHED;
        while self.sim.elapsed() < end && !self.stage.is_quiet() {
            self.step()?;
        }
        Ok(())
    }
}
