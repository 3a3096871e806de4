//! `hexagram move` and `hexagram drain`: orders to a controller, which wait for
//! their end.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use hexagram_core::WorkerId;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::output::print;
use crate::roles::asking::{controller, fetch, order};
use crate::roles::status::items;

/// An order that the status does not show by then is none any more.
const SHOWN: Duration = Duration::from_secs(3);
/// Between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(100);
const STYLE: &str = "[{bar:32}] moved {pos} of {len} shards {elapsed}";

/// Whom to order.
#[derive(Debug, Clone, Args)]
struct Whom {
    /// Admin address of `hexagram control` or `local`, HOST:PORT or URL.
    #[arg(long, default_value = "127.0.0.1:9090", value_name = "URL")]
    admin: String,
}

/// Settings of `hexagram move`.
#[derive(Debug, Clone, Args)]
pub(crate) struct MoveArgs {
    /// Number of the shard, from 0.
    #[arg(value_name = "SHARD")]
    shard: u16,
    /// Name of the worker that is to own it.
    #[arg(value_name = "WORKER")]
    worker: WorkerId,
    #[command(flatten)]
    whom: Whom,
}

/// Settings of `hexagram drain`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DrainOrder {
    /// Name of the worker that is to be empty.
    #[arg(value_name = "WORKER")]
    worker: WorkerId,
    /// End its drain instead: it is given shards again. One that drains because its
    /// process ends goes on.
    #[arg(long)]
    cancel: bool,
    #[command(flatten)]
    whom: Whom,
}

pub(crate) async fn move_shard(args: &MoveArgs) -> Result<()> {
    let (shard, worker) = (args.shard, args.worker.as_str());
    let admin = &args.whom.admin;
    let before = controller(admin).await?;
    let wanted = json!({"shard": shard, "to": worker});
    order(admin, Method::POST, "moves", &wanted).await?;
    let already = match has(&before["shards"][usize::from(shard)], worker) {
        true => " already",
        false => "",
    };
    let bar = bar(1);
    loop {
        let status = fetch(admin).await?;
        match &status["shards"][usize::from(shard)] {
            entry if has(entry, worker) => break,
            entry if entry["moving_to"].is_null() => {
                let owner = entry["owner"].as_str().unwrap_or("its owner");
                bail!(
                    "the move was given up: {owner} serves shard {shard} on; see the logs of both workers"
                );
            }
            _ => sleep(LOOK).await,
        }
    }
    bar.finish_and_clear();
    print(format!("shard {shard} is on {worker}{already}\n"))
}

/// Whether `worker` serves this shard.
fn has(shard: &Value, worker: &str) -> bool {
    shard["owner"] == worker && !is_nobodys(shard)
}

pub(crate) async fn drain(args: &DrainOrder) -> Result<()> {
    let (admin, worker) = (&args.whom.admin, args.worker.as_str());
    let whom = json!({"worker": worker});
    // Before the first shard goes.
    let all = left(&controller(admin).await?, worker);
    if args.cancel {
        order(admin, Method::DELETE, "drains", &whom).await?;
        return print(format!(
            "{worker} is drained no more: it is given shards again\n"
        ));
    }
    order(admin, Method::POST, "drains", &whom).await?;
    emptied(admin, worker, all).await?;
    print(format!("{worker} is empty: moved {all} shards\n"))
}

/// Waits until `worker` has none of its `all` shards.
async fn emptied(admin: &str, worker: &str, all: u64) -> Result<()> {
    let bar = bar(all);
    // An order shows in the status a moment after it was taken.
    let mut shown_by = Instant::now() + SHOWN;
    loop {
        let status = fetch(admin).await?;
        let left = left(&status, worker);
        bar.set_position(all.saturating_sub(left));
        let knows_all = items(&status, "shards").next().is_some();
        if left == 0 && knows_all {
            bar.finish_and_clear();
            return Ok(());
        }
        if !others_could_take(&status, worker) {
            bail!(
                "{worker} has {left} shards still, and no other worker is left to take them: start one"
            );
        }
        match is_drained(&status, worker) {
            false if knows_all && Instant::now() > shown_by => bail!(
                "{worker} has {left} shards and is drained no more: its drain was cancelled, \
                 or it or the controller was restarted"
            ),
            true => shown_by = Instant::now(),
            false => {}
        }
        sleep(LOOK).await;
    }
}

/// Whether somebody lives who is not to be empty. A controller without a map knows nobody.
fn others_could_take(status: &Value, worker: &str) -> bool {
    let could = |known: &Value| {
        known["name"] != worker && known["life"] != "dead" && known["draining"] != true
    };
    let mut workers = items(status, "workers").peekable();
    workers.peek().is_none() || workers.any(could)
}

fn is_drained(status: &Value, worker: &str) -> bool {
    items(status, "workers").any(|known| known["name"] == worker && known["draining"] == true)
}

/// How many shards `worker` still has, or is still being given.
fn left(status: &Value, worker: &str) -> u64 {
    let names = |shard: &Value| shard["owner"] == worker || shard["moving_to"] == worker;
    let has = |shard: &&Value| names(shard) && !is_nobodys(shard);
    items(status, "shards").filter(has).map(|_| 1).sum()
}

/// A shard in quarantine names its last owner.
fn is_nobodys(shard: &Value) -> bool {
    shard["quarantined"] == true
}

/// Hidden where standard error is no terminal.
fn bar(length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(STYLE);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style)
}
