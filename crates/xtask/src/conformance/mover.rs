//! Moves random shards, for as long as the suite runs.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Error, Result, ensure};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::process::{ask, hexagram};

const EVERY: Duration = Duration::from_millis(100);

/// Who orders the moves; it stops when it is ended.
pub(super) struct Mover {
    task: JoinHandle<Result<()>>,
    moves: Arc<AtomicU64>,
}

impl Mover {
    /// Begins to order moves between so many workers of the controller at `admin`.
    pub(super) async fn start(binary: PathBuf, admin: SocketAddr, workers: usize) -> Result<Self> {
        let moves = Arc::<AtomicU64>::default();
        let orders = Orders {
            owners: owners(&ask(&binary, admin).await?)?,
            binary,
            admin,
            workers,
            moves: Arc::clone(&moves),
        };
        let task = tokio::spawn(orders.run());
        Ok(Self { task, moves })
    }

    /// Stops; gives how many shards have moved.
    ///
    /// # Errors
    /// When one could not.
    pub(super) async fn end(self) -> Result<u64> {
        if self.task.is_finished() {
            self.task.await??;
        } else {
            self.task.abort();
        }
        Ok(self.moves.load(Ordering::Relaxed))
    }
}

struct Orders {
    binary: PathBuf,
    admin: SocketAddr,
    workers: usize,
    /// The number of each shard's worker.
    owners: Vec<usize>,
    moves: Arc<AtomicU64>,
}

impl Orders {
    async fn run(mut self) -> Result<()> {
        let (random, mut every) = (RandomState::new(), interval(EVERY));
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for turn in 0_u64.. {
            every.tick().await;
            let drawn = random.hash_one(turn) as usize;
            let shard = drawn % self.owners.len();
            let others = self.workers - 1;
            let to = (self.owners[shard] + 1 + drawn / self.owners.len() % others) % self.workers;
            match self.order(shard, to).await {
                Ok(()) => {
                    self.owners[shard] = to;
                    self.moves.fetch_add(1, Ordering::Relaxed);
                }
                Err(refused) => self.look_again(shard, refused).await?,
            }
        }
        Ok(())
    }

    /// The controller balances by itself: it may have moved a shard first, or be at it.
    async fn look_again(&mut self, shard: usize, refused: Error) -> Result<()> {
        let status = ask(&self.binary, self.admin).await?;
        let (believed, is_moving) = (self.owners[shard], is_moving(&status, shard));
        self.owners = owners(&status)?;
        match is_moving || self.owners[shard] != believed {
            true => Ok(()),
            false => Err(refused),
        }
    }

    async fn order(&self, shard: usize, to: usize) -> Result<()> {
        let mut command = hexagram(&self.binary);
        command.args(["move", &shard.to_string(), &format!("worker-{to}")]);
        command.arg(format!("--admin={}", self.admin));
        let output = command.output().await.context("order a move")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "shard {shard} to worker-{to}: {said}"
        );
        Ok(())
    }
}

fn is_moving(status: &Value, shard: usize) -> bool {
    !status["shards"][shard]["moving_to"].is_null()
}

/// The number of each shard's worker, as a controller's status says it.
fn owners(status: &Value) -> Result<Vec<usize>> {
    let shards = status["shards"]
        .as_array()
        .context("the controller has no map")?;
    let number = |shard: &Value| {
        shard["owner"]
            .as_str()?
            .strip_prefix("worker-")?
            .parse()
            .ok()
    };
    let owners: Option<Vec<_>> = shards.iter().map(number).collect();
    owners.context("a shard has no owner")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn owners_are_known_by_their_number() {
        let status = json!({"shards": [{"owner": "worker-2"}, {"owner": "worker-0"}]});
        assert_eq!(owners(&status).unwrap(), [2, 0]);
        assert!(owners(&json!({"shards": [{"owner": null}]})).is_err());
        assert!(owners(&json!({})).is_err());
    }

    #[test]
    fn a_move_of_the_controllers_own_is_seen() {
        let status = json!({"shards": [{"moving_to": null}, {"moving_to": "worker-0"}]});
        assert!(!is_moving(&status, 0));
        assert!(is_moving(&status, 1));
    }
}
