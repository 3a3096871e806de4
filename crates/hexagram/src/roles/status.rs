//! `hexagram status`: what a running process says of its shards.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde_json::Value;
use tokio::time::sleep;

use crate::grid;
use crate::output::print;
use crate::roles::asking::fetch;

const REDRAW: Duration = Duration::from_secs(1);
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

    /// Ask again each second, until Ctrl-C.
    #[arg(long)]
    pub(crate) watch: bool,
}

pub(crate) async fn run(args: &StatusArgs) -> Result<()> {
    loop {
        let status = fetch(&args.admin).await?;
        if args.watch && std::io::stdout().is_terminal() {
            print(CLEAR)?;
        }
        show(&status, args.output)?;
        if !args.watch {
            return Ok(());
        }
        sleep(REDRAW).await;
    }
}

fn show(status: &Value, output: Output) -> Result<()> {
    match output {
        Output::Json => print(serde_json::to_string_pretty(status)? + "\n"),
        Output::Text => print(text(status, std::io::stdout().is_terminal())),
    }
}

fn text(status: &Value, colours: bool) -> String {
    let field = |name: &str| status[name].as_str().unwrap_or("?").to_owned();
    let owners: Vec<_> = items(status, "shards")
        .map(|shard| shard["owner"].as_str().unwrap_or("?").to_owned())
        .collect();
    let mut out = format!(
        "{} {} of cluster {} (version {}): {} shards\n\n{}",
        field("role"),
        field("name"),
        field("cluster"),
        field("version"),
        owners.len(),
        grid::draw(&owners, colours),
    );
    items(status, "shards").for_each(|shard| out += &withheld_line(shard));
    items(status, "workers").for_each(|worker| out += &worker_line(worker));
    if let Some(ratio) = status["imbalance"].as_f64() {
        out += &format!("  the busiest worker does {ratio:.2} times the mean\n");
    }
    for link in items(status, "links") {
        let state = if link["up"] == true { "up" } else { "DOWN" };
        let worker = link["worker"].as_str().unwrap_or("?");
        out += &format!(
            "  link to {worker}: {state}, {} in flight\n",
            link["in_flight"]
        );
    }
    if let Some(state) = status["store"].as_str() {
        out += &format!("  session store: {state}\n");
    }
    items(status, "upstreams").for_each(|upstream| out += &upstream_line(upstream));
    out
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

fn worker_line(worker: &Value) -> String {
    let name = worker["name"].as_str().unwrap_or("?");
    let life = match worker["life"].as_str() {
        Some("alive") if worker["draining"] == true => "draining",
        Some("alive") => "alive",
        Some("suspect") => "SILENT",
        _ => "DEAD",
    };
    let load = worker["load"].as_f64();
    let load = load.map_or(String::new(), |load| {
        // The load of no shards at all is -0.
        format!(", {:.0} % busy", load.abs() * 100.0)
    });
    format!("  worker {name}: {life}{load}\n")
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
                {"name": "w", "life": "alive", "draining": false, "load": 0.256},
                {"name": "v", "life": "dead", "draining": false, "load": null},
            ],
            "imbalance": 1.0678,
            "links": [{"worker": "w", "up": false, "in_flight": 0}],
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
            "worker w of cluster c (version 1): 1 shards",
            "  shard 0 is IN QUARANTINE: `hexagram move 0 WORKER` ends it",
            "  worker w: alive, 26 % busy",
            "  worker v: DEAD",
            "  the busiest worker does 1.07 times the mean",
            "  link to w: DOWN, 0 in flight",
            "  upstream git: reachable for 7 s (git-mcp 1.2, both eras), 5 requests, 1 in flight",
            "  upstream docs: UNREACHABLE for 3 s, 9 requests, 0 in flight, 1 x broken, 2 x silent",
            "    last error 2 s ago: it hangs",
            "  upstream new: not used yet, 0 requests, 0 in flight",
        ] {
            assert!(text.lines().any(|found| found == line), "{text}");
        }
    }
}
