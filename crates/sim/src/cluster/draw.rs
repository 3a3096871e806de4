//! Scenarios, drawn from seeds.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::scenario::{
    CLIENTS, CONTROL, Crash, Fault, Kind, Moment, Order, REGISTER, STORE, Scenario, StoreTrouble,
    Victim, edge, worker,
};
use crate::history::{Change, Deed};

/// Faults begin after this: there is a first map, and clients talk.
const CALM: Duration = Duration::from_millis(300);

impl Scenario {
    /// One edge, two workers and one client, nothing wrong, and a shard that moves.
    #[must_use]
    pub fn plain(seed: u64) -> Self {
        let mut draw = Draw::new(seed);
        let shards = 4;
        let shard = draw.below(shards.into()) as u16;
        // To where it is, and then to the other, or the other way round.
        let moves = [(3, 0), (4, 1)].map(|(at, to)| {
            let to = worker(to);
            (Duration::from_secs(at), Order::Move { shard, to })
        });
        Self {
            seed,
            edges: 1,
            workers: 2,
            shards,
            legacy: 1,
            modern: 0,
            store: false,
            latency: Duration::from_millis(2),
            orders: moves.into(),
            crashes: Vec::new(),
            faults: Vec::new(),
            chaos: Duration::from_secs(5),
        }
    }

    /// What a seed makes of a cluster. One seed after the other takes the kinds of
    /// steps in turn, and beside a crash at such a step, in turn, nothing else, a
    /// broken path or an outage of the register.
    #[must_use]
    pub fn drawn(seed: u64) -> Self {
        let mut draw = Draw::new(seed);
        let (edges, workers) = (1 + draw.below(2), 2 + draw.below(2));
        let chaos = draw.between(Duration::from_secs(4), Duration::from_secs(7));
        let mut this = Self {
            seed,
            edges,
            workers,
            shards: *draw.one(&[4, 8]),
            legacy: 2 + draw.below(2),
            modern: 1 + draw.below(2),
            store: draw.chance(60),
            latency: draw.between(Duration::from_millis(1), Duration::from_millis(15)),
            orders: Vec::new(),
            crashes: Vec::new(),
            faults: Vec::new(),
            chaos,
        };
        this.draw_orders(&mut draw);
        this.draw_crashes(&mut draw);
        this.draw_faults(&mut draw);
        this
    }

    fn draw_orders(&mut self, draw: &mut Draw) {
        for _ in 0..2 + draw.below(4) {
            let order = match draw.chance(15) {
                true => Order::Drain(worker(draw.below(self.workers))),
                false => Order::Move {
                    shard: draw.below(self.shards.into()) as u16,
                    to: worker(draw.below(self.workers)),
                },
            };
            self.orders.push((draw.between(CALM, self.chaos), order));
        }
        self.orders.sort_by_key(|(at, _)| *at);
    }

    fn draw_crashes(&mut self, draw: &mut Draw) {
        let kinds = KINDS.len() as u64;
        let turn = self.seed % (kinds + 1);
        // One of the turns is without a crash.
        if let Some(kind) = KINDS.get(turn as usize) {
            self.crashes.push(self.crash(draw, *kind));
        }
        if draw.chance(25) {
            let kind = *draw.one(KINDS);
            self.crashes.push(self.crash(draw, kind));
        }
    }

    fn crash(&self, draw: &mut Draw, kind: Kind) -> Crash {
        let nth = match kind {
            Kind::Admitted => 1 + draw.below(60),
            Kind::Deed(Deed::Seen | Deed::Activated) => 1 + draw.below(16),
            _ => 1 + draw.below(3),
        };
        let victim = match draw.chance(60) {
            true => Victim::Actor,
            false => Victim::Host(self.server(draw)),
        };
        Crash {
            after: Moment {
                kind,
                nth: nth as u32,
            },
            victim,
            machine: draw.chance(25),
            away: self.away(draw),
        }
    }

    /// Any host that is no client's.
    fn server(&self, draw: &mut Draw) -> String {
        let all = self.servers();
        draw.one(&all).clone()
    }

    fn servers(&self) -> Vec<String> {
        let servers = (0..self.workers).map(worker);
        let servers = servers.chain((0..self.edges).map(edge));
        let others = [CONTROL, REGISTER].map(str::to_owned);
        servers.chain(others).collect()
    }

    fn away(&self, draw: &mut Draw) -> Duration {
        draw.between(Duration::from_millis(50), Duration::from_secs(5))
    }

    fn draw_faults(&mut self, draw: &mut Draw) {
        let turn = self.seed / (KINDS.len() as u64 + 1) % 3;
        match turn {
            0 => {}
            1 => self.draw_cut(draw),
            _ => self.fault(draw, |scenario, draw| Fault::Kill {
                host: REGISTER.to_owned(),
                machine: draw.chance(50),
                away: scenario.away(draw),
            }),
        }
        for _ in 0..draw.below(3) {
            match draw.below(10) {
                0..3 => self.draw_cut(draw),
                3..6 => self.fault(draw, |scenario, draw| Fault::Kill {
                    host: scenario.server(draw),
                    machine: draw.chance(40),
                    away: scenario.away(draw),
                }),
                6..9 => self.fault(draw, |scenario, draw| Fault::End {
                    host: worker(draw.below(scenario.workers)),
                    away: scenario.away(draw),
                }),
                _ => self.fault(draw, |_, _| Fault::Wipe),
            }
        }
        if self.store && draw.chance(40) {
            self.fault(draw, |scenario, draw| Fault::Store {
                trouble: *draw.one(&[
                    StoreTrouble::Down,
                    StoreTrouble::Mute,
                    StoreTrouble::Wiped,
                    StoreTrouble::RolledBack,
                ]),
                lasts: scenario.away(draw),
            });
        }
    }

    fn draw_cut(&mut self, draw: &mut Draw) {
        let mut all = self.servers();
        let a = all.swap_remove(draw.below(all.len()));
        if a.starts_with("edge") {
            all.push(CLIENTS.to_owned());
        }
        if a.starts_with("worker") && self.store {
            all.push(STORE.to_owned());
        }
        let b = all.swap_remove(draw.below(all.len()));
        self.fault(draw, |_, draw| Fault::Cut {
            a,
            b,
            lasts: draw.between(Duration::from_millis(20), Duration::from_secs(5)),
            late: draw.chance(50),
        });
    }

    fn fault(&mut self, draw: &mut Draw, make: impl FnOnce(&Self, &mut Draw) -> Fault) {
        let fault = make(self, draw);
        self.faults.push((draw.between(CALM, self.chaos), fault));
    }
}

/// The steps at which somebody dies.
const KINDS: &[Kind] = &[
    Kind::Planned,
    Kind::Deed(Deed::Prepared),
    Kind::Deed(Deed::Frozen),
    Kind::Deed(Deed::Granted),
    Kind::Deed(Deed::Activated),
    Kind::Deed(Deed::Left),
    Kind::Owner(Change::Committed),
    Kind::Deed(Deed::Seen),
    Kind::Deed(Deed::Parked),
    Kind::Deed(Deed::Resumed),
    Kind::Deed(Deed::Declined),
    Kind::Aborted,
    Kind::Owner(Change::First),
    Kind::Owner(Change::FailedOver),
    Kind::Admitted,
];

/// Chance, drawn from a seed.
pub(super) struct Draw(StdRng);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// A number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end)
    }

    /// A time between two others.
    pub(super) fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let (from, to) = (from.as_micros() as u64, to.as_micros() as u64);
        Duration::from_micros(self.0.random_range(from..=to))
    }

    /// Whether something happens that does in `percent` of all cases.
    pub(super) fn chance(&mut self, percent: u32) -> bool {
        self.0.random_range(0..100) < percent
    }

    /// One of these.
    pub(super) fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}
