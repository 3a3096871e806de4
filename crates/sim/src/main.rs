//! Runs one seed of the simulation. A process of its own runs each, so that nothing of
//! an earlier run is left and the same seed gives the same run.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use hexagram_sim::cluster::{LIMITS, Scenario, run};
use hexagram_sim::history::{History, Verdict, check};
use mad_turmoil::rand::set_rng;
use mad_turmoil::time::SimClocksGuard;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;

/// Runs a whole cluster in a simulation, and decides whether it kept its promises.
///
/// The last line of the output is JSON: `seed`, `violations` and `counts`. The exit
/// code is 1 where a promise was broken.
#[derive(Parser)]
#[command(name = "hexagram-sim")]
struct Args {
    /// What the scenario and all chance in it are drawn from.
    #[arg(long)]
    seed: u64,
    /// Nothing goes wrong, and one shard moves.
    #[arg(long)]
    plain: bool,
    /// Prints the scenario, and what happened step by step.
    #[arg(long)]
    trace: bool,
    /// Prints the product's log on standard error.
    #[arg(long)]
    loud: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    set_rng(StdRng::seed_from_u64(args.seed));
    let _clocks = SimClocksGuard::init();
    let scenario = match args.plain {
        true => Scenario::plain(args.seed),
        false => Scenario::drawn(args.seed),
    };
    let mut text = String::new();
    if args.trace {
        text += &format!("{scenario:#?}\n");
    }
    let history = match run(scenario, args.loud) {
        Ok(history) => history,
        Err(trouble) => {
            tell(&format!("{text}{trouble}\n"));
            return ExitCode::from(2);
        }
    };
    let verdict = check(&history, &LIMITS);
    if args.trace {
        text += &trace(&history);
    }
    tell(&format!("{text}{}\n", line(args.seed, &verdict)));
    match verdict.violations.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn tell(text: &str) {
    // Whoever closed the output does not want it.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Steps and talk in their order.
fn trace(history: &History) -> String {
    let steps = history.events.iter();
    let steps = steps.map(|event| (event.at, event.to_string()));
    let talk = history.exchanges.iter();
    let talk = talk.map(|one| (one.ended.unwrap_or(history.end), one.to_string()));
    let mut lines: Vec<_> = steps.chain(talk).collect();
    lines.sort_by_key(|(at, _)| *at);
    lines.into_iter().map(|(_, line)| line + "\n").collect()
}

fn line(seed: u64, verdict: &Verdict) -> serde_json::Value {
    let violations = verdict.violations.iter().map(ToString::to_string);
    json!({
        "seed": seed,
        "violations": violations.collect::<Vec<_>>(),
        "counts": verdict.counts,
    })
}
