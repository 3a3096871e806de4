//! What both stores write per second, beside what the same server answers to bare pings.
//!
//! ```console
//! $ redis-server --port 7000 --save "" &
//! $ cargo run --release -p hexagram-store --example throughput -- redis://127.0.0.1:7000
//! ```

use std::io::Write;

use bytes::Bytes;
use hexagram_core::{Epoch, Serial, SessionKey, ShardCount, ShardId};
use hexagram_store::{
    Change, Claim, ClaimMode, Group, MemoryStore, RedisSettings, RedisStore, Store, StoreError,
};
use tokio::time::Instant;

/// Groups of one write, each of another shard.
const SHARDS: usize = 16;
/// Changes of one group, each another session's record.
const CHANGES: u64 = 8;
/// Bytes of one record.
const RECORD: usize = 300;
const WRITES: u64 = 2_000;

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let url = std::env::args()
        .nth(1)
        .ok_or("give the URL of an empty Valkey or Redis")?;
    let settings = RedisSettings {
        url: url.clone(),
        ca: None,
        cluster: "throughput".to_owned(),
        shards: ShardCount::default(),
        wait: 0,
    };
    let pings = pings(&url).await?;
    print("bare pings", pings, "", pings)?;
    for (name, store) in [
        ("memory", Box::new(MemoryStore::default()) as Box<dyn Store>),
        ("redis", Box::new(RedisStore::connect(&settings).await?)),
    ] {
        let groups = groups(&*store).await?;
        print(name, groups, "groups", pings)?;
        print(name, groups * CHANGES as f64, "changes", pings)?;
    }
    Ok(())
}

fn print(name: &str, rate: f64, what: &str, pings: f64) -> std::io::Result<()> {
    let ratio = rate / pings;
    writeln!(
        std::io::stdout(),
        "{name:10} {rate:>10.0}/s {what:8} {ratio:>7.2} x pings"
    )
}

/// Pings a second, as many on their way at once as a write has groups.
async fn pings(url: &str) -> redis::RedisResult<f64> {
    let client = redis::Client::open(url)?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let begun = Instant::now();
    for _ in 0..WRITES {
        let mut pipeline = redis::Pipeline::new();
        for _ in 0..SHARDS {
            pipeline.cmd("PING");
        }
        let _: Vec<String> = pipeline.query_async(&mut connection).await?;
    }
    Ok((WRITES * SHARDS as u64) as f64 / begun.elapsed().as_secs_f64())
}

/// Groups a second.
async fn groups(store: &dyn Store) -> Result<f64, StoreError> {
    let shards: Vec<ShardId> = ShardCount::default().iter().take(SHARDS).collect();
    let epoch = Epoch::FIRST;
    for &shard in &shards {
        let mode = ClaimMode::Rewrite { floor: epoch };
        store.claim(Claim { shard, epoch, mode }).await?;
    }
    let begun = Instant::now();
    for number in 1..=WRITES {
        let group = |&shard: &ShardId| Group {
            shard,
            epoch,
            number,
            changes: changes(number),
        };
        let groups: Vec<Group> = shards.iter().map(group).collect();
        store.write(&groups).await?;
    }
    Ok((WRITES * SHARDS as u64) as f64 / begun.elapsed().as_secs_f64())
}

fn changes(number: u64) -> Vec<Change> {
    let record = Bytes::from(vec![b'r'; RECORD]);
    let key = |serial| SessionKey {
        epoch: Epoch::FIRST,
        serial: Serial::new(serial % 1_000),
    };
    let first = number * CHANGES;
    (first..first + CHANGES)
        .map(|serial| Change::Session(key(serial), record.clone()))
        .collect()
}
