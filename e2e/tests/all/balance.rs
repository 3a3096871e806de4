//! Shards that have much to do, all on one worker: moved apart by the operator.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hexagram_e2e::{
    Drive, EVEN, Evenness, HOT, Heat, Metrics, Orders, Role, Scene, UNNOTICED, Verdict, scenario,
};
use tokio::time::sleep;

const SOON: Duration = Duration::from_secs(180);
/// A load shows in averages of half a minute.
const SHOWS: Duration = Duration::from_secs(45);
/// Nothing is to move any more.
const AFTER: Duration = Duration::from_secs(300);

#[tokio::test]
async fn hot_shards_are_moved_apart() {
    let bar = format!(
        "{HOT}; max/mean < {EVEN} after 180 s, at most 2 moves in the 300 s after; {UNNOTICED}"
    );
    scenario("hot shards all on one worker", &bar, async |scene| {
        scene.installed().await?;
        let load = scene.load_as(&hot()).await?;
        sleep(SHOWS).await;
        let verdict = gathered(scene).await?;
        // The operator leaves alone what was moved on purpose; a new one does not know of it.
        scene.kubectl.restart(Role::Operator).await?;
        let verdict = moved_apart(scene, verdict).await?;
        let figures = load.end().await?;
        scene.rest().await?;
        Ok(verdict.unnoticed(&figures))
    })
    .await;
}

/// The slots of modern clients' connections are on 14 shards, which are the hot ones: so many
/// clients that hardly ever one of them is too hot. More calls than nodes that share two cores
/// serve would not be a load but a backlog.
fn hot() -> Drive {
    Drive {
        clients: 120,
        rate: 2.0,
        message: "e".repeat(8192),
    }
}

/// Brings the busier half of the shards to one worker and the others to the other.
async fn gathered(scene: &Scene) -> Result<Verdict> {
    let metrics = scene.control_metrics().await?;
    let mut loads = metrics.by("hexagram_shard_load", "shard");
    loads.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let workers = scene.serving(Role::Worker).await?;
    ensure!(
        workers.len() == 2 && loads.len() >= 2,
        "two workers with shards"
    );
    let busy = metrics.sum("hexagram_control_worker_load", &[]) / workers.len() as f64;
    let owners = scene.rest().await?;
    let owners = owners.owners();
    let (hot, cold) = loads.split_at(loads.len() / 2);
    let orders = scene.orders().await?;
    // By turns: a worker that has far fewer shards than the other is given some as a new one.
    for pair in hot.iter().zip(cold) {
        for ((shard, _), worker) in [pair.0, pair.1].into_iter().zip(&workers) {
            let owner = owners.get(&shard.parse()?).copied().unwrap_or_default();
            if !owner.starts_with(worker.name.as_str()) {
                put(scene, &orders, shard, &worker.name).await?;
            }
        }
    }
    let map = scene.rest().await?;
    Ok(Heat::of(&loads, &map.owners()).verdict(busy))
}

async fn put(scene: &Scene, orders: &Orders, shard: &str, worker: &str) -> Result<()> {
    let Err(refused) = orders.give(&["move", shard, worker]).await else {
        return Ok(());
    };
    // The operator may have moved it meanwhile, there or away.
    let map = scene.rest().await?;
    let owners = map.owners();
    let owner = owners.get(&shard.parse()?).copied().unwrap_or_default();
    if owner.starts_with(worker) {
        return Ok(());
    }
    orders.give(&["move", shard, worker]).await.context(refused)
}

async fn moved_apart(scene: &Scene, verdict: Verdict) -> Result<Verdict> {
    // By then, and not the first time that it looks even: loads are averages, so at first a new
    // operator sees too little of them.
    sleep(SOON).await;
    let then = scene.control_metrics().await?;
    sleep(AFTER).await;
    let now = scene.control_metrics().await?;
    let (even, done) = (Evenness::of(&then), moves(&then));
    let more = moves(&now) - done;
    let verdict = verdict
        .shows(format!("{even} after 180 s and {done} moves"))
        .shows(format!("{more} more, then {}", Evenness::of(&now)));
    let verdict = even.judged(verdict);
    Ok(verdict.requires(more <= 2.0, "it did not come to rest"))
}

fn moves(metrics: &Metrics) -> f64 {
    metrics.sum("hexagram_control_moves_total", &[r#"step="planned""#])
}
