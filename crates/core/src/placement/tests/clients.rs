//! Many clients and many sizes of a cluster: how even placement leaves them and
//! what it moves for that. The figures to compare with are DESIGN 9's.

#![allow(clippy::print_stdout, reason = "figures to compare with DESIGN 9's")]

use super::super::Move;
use super::cluster::{Cluster, by_load};

const CLIENTS: usize = 15_000;
const SHARDS: u16 = 64;
/// Millionths of a core.
const CORE: f64 = 1_000_000.0;
/// What the workers have to do on average.
const USED: f64 = 0.5;

/// splitmix64: a seed gives the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly from 0 to 1, both excluded.
    fn unit(&mut self) -> f64 {
        ((self.next() >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
    }

    /// Normal, mean 0 and deviation 1 (Box and Muller).
    fn normal(&mut self) -> f64 {
        let (radius, angle) = (self.unit().ln(), self.unit());
        (-2.0 * radius).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}

/// What each shard's clients ask for, as a share of all, each client's weight
/// lognormal.
fn shares(random: &mut Random) -> Vec<f64> {
    let mut shares = vec![0.0; usize::from(SHARDS)];
    for _ in 0..CLIENTS {
        let shard = random.next() % u64::from(SHARDS);
        shares[shard as usize] += random.normal().exp();
    }
    let total: f64 = shares.iter().sum();
    shares.iter().map(|share| share / total).collect()
}

fn loads(shares: &[f64], workers: usize) -> Vec<u64> {
    let all = CORE * USED * workers as f64;
    shares.iter().map(|share| (share * all) as u64).collect()
}

/// The fewest moves after which every open worker has the floor or the ceiling of
/// its count.
fn least_moves(cluster: &Cluster) -> usize {
    let open = cluster.open();
    let counts = cluster.counts();
    let mut staying = counts[..open].to_vec();
    staying.sort_unstable_by(|a, b| b.cmp(a));
    let (floor, more) = (usize::from(SHARDS) / open, usize::from(SHARDS) % open);
    let surplus = staying.iter().enumerate().map(|(place, count)| {
        let share = floor + usize::from(place < more);
        count.saturating_sub(share)
    });
    surplus.sum::<usize>() + counts[open..].iter().sum::<usize>()
}

struct Figures {
    imbalances: Vec<f64>,
    moves: usize,
    least: usize,
}

impl Figures {
    fn mean(&self) -> f64 {
        self.imbalances.iter().sum::<f64>() / self.imbalances.len() as f64
    }

    fn p95(&mut self) -> f64 {
        self.imbalances.sort_by(f64::total_cmp);
        self.imbalances[self.imbalances.len() * 95 / 100]
    }
}

fn walk(random: &mut Random, figures: &mut Figures) {
    let shares = shares(random);
    let mut cluster = Cluster::new(4, CORE as u64, SHARDS).with_loads(loads(&shares, 4));
    cluster.rest();
    figures.imbalances.push(cluster.imbalance());
    for workers in [5, 8, 12, 16, 24, 16, 10, 4] {
        cluster.resize(workers, CORE as u64);
        cluster = cluster.with_loads(loads(&shares, workers));
        figures.least += least_moves(&cluster);
        figures.moves += cluster.rest().len();
        figures.imbalances.push(cluster.imbalance());
    }
}

#[test]
fn clusters_that_grow_and_shrink_stay_even_with_few_moves() {
    let mut random = Random(1);
    let mut figures = Figures {
        imbalances: Vec::new(),
        moves: 0,
        least: 0,
    };
    (0..40).for_each(|_| walk(&mut random, &mut figures));
    let (mean, p95) = (figures.mean(), figures.p95());
    let ratio = figures.moves as f64 / figures.least as f64;
    println!("max/mean {mean:.3}, p95 {p95:.3}; moves for the least possible {ratio:.3}");
    assert!(mean < 1.10 && p95 < 1.20 && ratio < 1.15);
}

/// Loads that follow their means with a memory of `KEPT` a tick and deviate by 15 %.
struct Noise {
    means: Vec<u64>,
    off: Vec<f64>,
}

impl Noise {
    const KEPT: f64 = 0.8;
    const DEVIATION: f64 = 0.15;

    fn next(&mut self, random: &mut Random) -> Vec<u64> {
        let fresh = Self::DEVIATION * (1.0 - Self::KEPT * Self::KEPT).sqrt();
        for off in &mut self.off {
            *off = Self::KEPT * *off + fresh * random.normal();
        }
        let noisy = |(mean, off): (&u64, &f64)| (*mean as f64 * (1.0 + off).max(0.0)) as u64;
        self.means.iter().zip(&self.off).map(noisy).collect()
    }
}

/// What workers report: half-life 30 s, a tick is 10 s.
fn smooth(before: &[u64], now: &[u64]) -> Vec<u64> {
    let kept = 0.5_f64.powf(1.0 / 3.0);
    let pairs = before.iter().zip(now);
    pairs
        .map(|(before, now)| (*before as f64 * kept + *now as f64 * (1.0 - kept)) as u64)
        .collect()
}

/// An hour of noise; gives the moves by load and the mean of what was measured of
/// the true loads.
fn hour(random: &mut Random) -> (Vec<Move>, f64) {
    let means = loads(&shares(random), 12);
    let mut cluster = Cluster::new(12, CORE as u64, SHARDS).with_loads(means.clone());
    cluster.rest();
    let mut noise = Noise {
        off: vec![0.0; means.len()],
        means: means.clone(),
    };
    let (mut reported, mut moves, mut imbalance) = (means, Vec::new(), 0.0);
    for _ in 0..360 {
        let now = noise.next(random);
        imbalance += cluster.clone().with_loads(now.clone()).imbalance() / 360.0;
        reported = smooth(&reported, &now);
        cluster = cluster.with_loads(reported.clone());
        moves.extend(cluster.round());
    }
    (by_load(&moves).copied().collect(), imbalance)
}

#[test]
fn noise_moves_little() {
    let mut random = Random(2);
    let hours: Vec<_> = (0..10).map(|_| hour(&mut random)).collect();
    let moves = hours.iter().map(|(moves, _)| moves.len()).sum::<usize>() as f64 / 10.0;
    let imbalance = hours.iter().map(|(_, imbalance)| imbalance).sum::<f64>() / 10.0;
    println!("{moves} moves an hour, max/mean {imbalance:.3}");
    assert!(moves < 24.0 && imbalance < 1.2);
}
