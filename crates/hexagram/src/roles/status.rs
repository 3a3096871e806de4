//! `hexagram status`: what a running process says of its shards.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::{Error, Result};
use clap::{Args, ValueEnum};
use serde_json::Value;
use tokio::time::sleep;

use crate::grid;
use crate::output::print;
use crate::roles::asking::fetch;

const REDRAW: Duration = Duration::from_secs(1);
/// Shards that a cluster may have.
const MOST: usize = 1 << 16;
/// Cursor to the corner, everything erased.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// Form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Settings of `hexagram status`.
#[derive(Debug, Clone, Args)]
pub(crate) struct StatusArgs {
    /// Admin address of the process to ask, HOST:PORT or URL.
    #[arg(long, default_value = "127.0.0.1:9090", value_name = "URL")]
    pub(crate) admin: String,

    /// Form of the output.
    #[arg(short, long, default_value = "text", value_name = "FORM")]
    pub(crate) output: Output,

    /// Ask again each second until Ctrl-C, also while nobody answers.
    #[arg(long)]
    pub(crate) watch: bool,
}

pub(crate) async fn run(args: &StatusArgs) -> Result<()> {
    if !args.watch {
        return show(&fetch(&args.admin).await?, args.output);
    }
    loop {
        let status = fetch(&args.admin).await;
        if io::stdout().is_terminal() {
            print(CLEAR)?;
        }
        match status {
            Ok(status) => show(&status, args.output)?,
            Err(error) => unanswered(&error),
        }
        sleep(REDRAW).await;
    }
}

/// Who watches a process wants to see it come back.
fn unanswered(error: &Error) {
    // Standard output alone decides whether anybody watches.
    let _ = writeln!(io::stderr(), "error: {error:#}; asking again");
}

fn show(status: &Value, output: Output) -> Result<()> {
    match output {
        Output::Json => print(serde_json::to_string_pretty(status)? + "\n"),
        Output::Text => print(text(status, io::stdout().is_terminal())),
    }
}

fn text(status: &Value, colours: bool) -> String {
    let owners = owners(status);
    // Only a worker knows of its own shards alone.
    let blank = match status["shard_count"].is_null() {
        true => "nobody's",
        false => "other workers'",
    };
    let names = items(status, "workers").filter_map(|worker| worker["name"].as_str());
    let names: Vec<_> = names.map(str::to_owned).collect();
    let mut out = title(status, &owners) + "\n\n" + &grid::draw(&owners, &names, blank, colours);
    if let Some(waiting) = status["waiting"].as_str() {
        out += &format!("  no shard map yet: waiting {waiting}\n");
    }
    items(status, "shards").for_each(|shard| out += &withheld_line(shard));
    items(status, "workers").for_each(|worker| out += &worker_line(worker));
    lost(status).for_each(|worker| out += &lost_line(worker));
    if let Some(ratio) = status["imbalance"].as_f64() {
        out += &format!("  the busiest worker does {ratio:.2} times the mean\n");
    }
    items(status, "links").for_each(|link| out += &link_line(link));
    out += &keys_line(status);
    if let Some(state) = status["store"].as_str() {
        out += &format!("  session store: {state}\n");
    }
    items(status, "upstreams").for_each(|upstream| out += &upstream_line(upstream));
    out
}

fn title(status: &Value, owners: &[Option<String>]) -> String {
    let field = |name: &str| status[name].as_str().unwrap_or("?");
    let here = owners.iter().flatten().count();
    let shards = match status["shard_count"].is_null() {
        true => grid::counted(owners.len()),
        false => format!("{here} of {}", grid::counted(owners.len())),
    };
    format!(
        "{} {} of cluster {} (version {}): {shards}",
        field("role"),
        field("name"),
        field("cluster"),
        field("version"),
    )
}

/// The owner of each shard, by its number; none of one in quarantine, or of one that
/// the process says nothing of.
fn owners(status: &Value) -> Vec<Option<String>> {
    let count = status["shard_count"].as_u64();
    let count = count.and_then(|count| usize::try_from(count).ok());
    // A worker of the release before lists its own ones and does not say how many there are.
    let last = items(status, "shards").filter_map(|shard| shard["shard"].as_u64());
    let last = last.max().and_then(|last| usize::try_from(last).ok());
    let known = last.map_or(0, |last| last.saturating_add(1));
    let mut owners = vec![None; count.unwrap_or(known).min(MOST)];
    for shard in items(status, "shards").filter(|shard| shard["quarantined"] != true) {
        let number = shard["shard"].as_u64();
        let number = number.and_then(|number| usize::try_from(number).ok());
        if let Some(owner) = number.and_then(|number| owners.get_mut(number)) {
            *owner = Some(shard["owner"].as_str().unwrap_or("?").to_owned());
        }
    }
    owners
}

fn link_line(link: &Value) -> String {
    let state = if link["up"] == true { "up" } else { "DOWN" };
    let worker = link["worker"].as_str().unwrap_or("?");
    let running = &link["in_flight"];
    let trouble = link["trouble"].as_str();
    let trouble = trouble.map_or(String::new(), |trouble| format!("    because: {trouble}\n"));
    format!("  link to {worker}: {state}, {running} in flight\n{trouble}")
}

/// A shard that nobody is to serve.
fn withheld_line(shard: &Value) -> String {
    match shard["quarantined"].as_bool() {
        Some(true) => {
            let shard = &shard["shard"];
            format!("  shard {shard} is IN QUARANTINE: `hexagram move {shard} WORKER` ends it\n")
        }
        _ => String::new(),
    }
}

/// Which keys session ids are sealed with, by what stands for them.
fn keys_line(status: &Value) -> String {
    let mut keys = items(status, "keys").filter_map(Value::as_str);
    let Some(minting) = keys.next() else {
        return String::new();
    };
    let others: String = keys.map(|key| format!(", {key} only opens")).collect();
    format!("  keys: {minting} mints{others}\n")
}

fn worker_line(worker: &Value) -> String {
    let name = worker["name"].as_str().unwrap_or("?");
    let life = match worker["life"].as_str() {
        Some("alive") if worker["draining"] == true => "draining".to_owned(),
        Some("alive") => "alive".to_owned(),
        Some("suspect") => "SILENT".to_owned(),
        _ => dead(worker),
    };
    // A controller of an older release does not say.
    let shards = worker["shards"].as_u64();
    let shards = shards.and_then(|shards| usize::try_from(shards).ok());
    let shards = shards.map_or(String::new(), |shards| {
        format!(", {}", grid::counted(shards))
    });
    let load = worker["load"].as_f64();
    let load = load.map_or(String::new(), |load| {
        // The load of no shards at all is -0.
        format!(", {:.0} % busy", load.abs() * 100.0)
    });
    format!("  worker {name}: {life}{shards}{load}\n")
}

/// Those lost of whom no line tells yet that they are dead: a name that died again is told of once.
fn lost(status: &Value) -> impl Iterator<Item = &Value> {
    let is_dead = |worker: &&Value| !matches!(worker["life"].as_str(), Some("alive" | "suspect"));
    let dead = items(status, "workers").filter(is_dead);
    let mut told: BTreeSet<_> = dead.filter_map(|worker| worker["name"].as_str()).collect();
    // The latest come first.
    items(status, "lost").filter(move |worker| {
        let name = worker["name"].as_str();
        name.is_none_or(|name| told.insert(name))
    })
}

/// A worker that died a while ago and owns nothing any more.
fn lost_line(worker: &Value) -> String {
    let name = worker["name"].as_str().unwrap_or("?");
    let restarted = match worker["restarted"] == true {
        true => ", started again since",
        false => "",
    };
    format!("  worker {name}: {}{restarted}\n", dead(worker))
}

fn dead(worker: &Value) -> String {
    match worker["dead_for_seconds"].as_u64() {
        Some(seconds @ 0..120) => format!("DEAD for {seconds} s"),
        Some(seconds) => format!("DEAD for {} min", seconds / 60),
        None => "DEAD".to_owned(),
    }
}

fn upstream_line(upstream: &Value) -> String {
    let name = upstream["name"].as_str().unwrap_or("?");
    let failures = upstream["failures"].as_object().into_iter().flatten();
    let failures: Vec<_> = failures
        .map(|(kind, count)| format!(", {count} x {kind}"))
        .collect();
    format!(
        "  upstream {name}: {}, {} requests, {} in flight{}\n{}",
        health(upstream),
        upstream["requests"],
        upstream["in_flight"],
        failures.concat(),
        last_error(&upstream["last_error"]),
    )
}

/// Whether it answers, and what it is.
fn health(upstream: &Value) -> String {
    let state = match upstream["reachable"].as_bool() {
        Some(true) => "reachable",
        Some(false) => "UNREACHABLE",
        None => return "not used yet".to_owned(),
    };
    let era = upstream["era"].as_str().map(|era| match era {
        "both" => "both eras",
        one => one,
    });
    let server = match (upstream["server"].as_str(), era) {
        (Some(server), Some(era)) => format!(" ({server}, {era})"),
        (None, Some(era)) => format!(" ({era})"),
        _ => String::new(),
    };
    format!("{state} for {} s{server}", upstream["for_seconds"])
}

fn last_error(last: &Value) -> String {
    match last["error"].as_str() {
        Some(error) => format!("    last error {} s ago: {error}\n", last["seconds_ago"]),
        None => String::new(),
    }
}

pub(super) fn items<'a>(status: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    status[list].as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn links_and_upstreams_have_a_line_each() {
        let status = json!({
            "role": "worker", "name": "w", "cluster": "c", "version": "1",
            "shards": [{"shard": 0, "owner": "w", "quarantined": true}],
            "workers": [
                {"name": "w", "life": "alive", "draining": false, "shards": 21, "load": 0.256},
                {"name": "v", "life": "dead", "draining": false, "load": null},
            ],
            "lost": [
                {"name": "u", "dead_for_seconds": 119, "restarted": false},
                {"name": "w", "dead_for_seconds": 599, "restarted": true},
            ],
            "imbalance": 1.0678,
            "links": [{"worker": "w", "up": false, "in_flight": 0, "trouble": "it hangs up"}],
            "upstreams": [
                {"name": "git", "requests": 5, "in_flight": 1, "failures": {},
                 "reachable": true, "for_seconds": 7, "server": "git-mcp 1.2", "era": "both"},
                {"name": "docs", "requests": 9, "in_flight": 0, "failures": {"broken": 1, "silent": 2},
                 "reachable": false, "for_seconds": 3,
                 "last_error": {"error": "it hangs", "seconds_ago": 2}},
                {"name": "new", "requests": 0, "in_flight": 0, "failures": {}},
            ],
        });
        let text = text(&status, false);
        for line in [
            "worker w of cluster c (version 1): 1 shard",
            "  shard 0 is IN QUARANTINE: `hexagram move 0 WORKER` ends it",
            "  worker w: alive, 21 shards, 26 % busy",
            "  worker v: DEAD",
            "  worker u: DEAD for 119 s",
            "  worker w: DEAD for 9 min, started again since",
            "  the busiest worker does 1.07 times the mean",
            "  link to w: DOWN, 0 in flight",
            "    because: it hangs up",
            "  upstream git: reachable for 7 s (git-mcp 1.2, both eras), 5 requests, 1 in flight",
            "  upstream docs: UNREACHABLE for 3 s, 9 requests, 0 in flight, 1 x broken, 2 x silent",
            "    last error 2 s ago: it hangs",
            "  upstream new: not used yet, 0 requests, 0 in flight",
        ] {
            assert!(text.lines().any(|found| found == line), "{text}");
        }
    }

    #[test]
    fn a_dead_worker_has_one_line() {
        let status = json!({
            "shards": [],
            "workers": [{"name": "w", "life": "dead", "dead_for_seconds": 2, "shards": 1}],
            "lost": [
                {"name": "w", "dead_for_seconds": 60, "restarted": false},
                {"name": "v", "dead_for_seconds": 70, "restarted": false},
                {"name": "v", "dead_for_seconds": 90, "restarted": false},
            ],
        });
        let text = text(&status, false);
        let dead: Vec<_> = text.lines().filter(|line| line.contains("DEAD")).collect();
        assert_eq!(
            dead,
            [
                "  worker w: DEAD for 2 s, 1 shard",
                "  worker v: DEAD for 70 s"
            ]
        );
    }

    #[test]
    fn the_key_that_mints_is_told_from_those_that_only_open() {
        let keys = |keys: &[&str]| keys_line(&json!({ "keys": keys }));
        assert_eq!(keys(&[]), "");
        assert_eq!(keys(&["0a"]), "  keys: 0a mints\n");
        assert_eq!(keys(&["0a", "1b"]), "  keys: 0a mints, 1b only opens\n");
    }

    #[test]
    fn a_controller_without_a_map_says_what_it_waits_for() {
        let status = json!({"role": "control", "shards": [], "waiting": "for workers to join"});
        let text = text(&status, false);
        assert!(
            text.ends_with(": 0 shards\n\n  no shard map yet: waiting for workers to join\n"),
            "{text}"
        );
    }

    #[test]
    fn a_worker_shows_its_shards_at_their_places() {
        let status = json!({
            "role": "worker", "name": "w", "cluster": "c", "version": "1", "shard_count": 16,
            "shards": [{"shard": 9, "owner": "w"}, {"shard": 15, "owner": "w"}],
        });
        let text = text(&status, false);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[0],
            "worker w of cluster c (version 1): 2 of 16 shards"
        );
        assert!(lines[3].starts_with("   8  \u{4DC8}. \u{4DC9}a "), "{text}");
        assert!(lines[3].ends_with("\u{4DCF}a "), "{text}");
        assert_eq!(
            lines[4..],
            ["  a w: 2 shards", "  . other workers': 14 shards"]
        );
    }
}
