//! The whole cluster in one simulation: each seed in a process of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Output;
use std::time::Duration;

use hexagram_sim::history::Counts;
use serde::Deserialize;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Seeds are begun for so long.
const BUDGET: Duration = Duration::from_secs(60);
/// Seeds that run at a time.
const AT_A_TIME: usize = 2;
/// Of a trace, so many lines are shown.
const TAIL: usize = 80;

#[derive(Deserialize)]
struct Told {
    seed: u64,
    violations: Vec<String>,
    counts: Counts,
}

async fn play(seed: u64, flags: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_hexagram-sim");
    let mut command = Command::new(program);
    command.args(flags).arg(format!("--seed={seed}"));
    command.kill_on_drop(true).output().await.unwrap()
}

fn told(output: &Output) -> Option<Told> {
    let text = std::str::from_utf8(&output.stdout).ok()?;
    serde_json::from_str(text.lines().last()?).ok()
}

/// Shows what a seed did.
async fn show(seed: u64) -> String {
    let output = play(seed, &["--trace"]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<_> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    format!("again: cargo run -p hexagram-sim -- --trace --seed {seed}\n...\n{tail}\n{error}")
}

#[tokio::test]
async fn a_seed_gives_the_same_trace_again() {
    for (seed, flags) in [
        (1, &["--plain", "--trace"][..]),
        (2, &["--plain", "--trace"]),
        (3, &["--trace"]),
        (4, &["--trace"]),
        (5, &["--trace"]),
    ] {
        let [first, second] = [play(seed, flags).await, play(seed, flags).await];
        let text = String::from_utf8(first.stdout).unwrap();
        for word in ["granted", "activated", "committed", "admitted"] {
            assert!(text.contains(word), "seed {seed}: nothing {word}: {text}");
        }
        assert_eq!(text.as_bytes(), second.stdout, "seed {seed}");
    }
}

#[tokio::test]
async fn every_seed_keeps_the_invariants() {
    let (until, mut next, mut running) = (Instant::now() + BUDGET, 1, JoinSet::new());
    let mut total = Counts::default();
    loop {
        while running.len() < AT_A_TIME && Instant::now() < until {
            let seed = next;
            running.spawn(async move { (seed, play(seed, &[]).await) });
            next += 1;
        }
        let Some(played) = running.join_next().await else {
            break;
        };
        let (seed, output) = played.unwrap();
        let sound = told(&output).filter(|told| told.seed == seed && told.violations.is_empty());
        let Some(told) = sound.filter(|_| output.status.success()) else {
            panic!("seed {seed}: {output:?}\n{}", show(seed).await);
        };
        total += told.counts;
    }
    eprintln!("seeds 1 to {}\n{total}", next - 1);
    assert!(total.moves > 0 && total.failovers > 0, "nothing happened");
}
