//! Waiting for replicas: what is written counts as stored once enough of them have it.

use std::time::Duration;

use redis::{Pipeline, Value};
use tokio::sync::{Mutex, MutexGuard};

use crate::store::StoreError;

/// The server waits this long for them, and answers nothing else on the connection
/// meanwhile: what is asked behind two such waits must still be answered in time.
const REPLICATION: Duration = Duration::from_millis(400);
/// And this long while too few are known to be there: batches follow each other, and what
/// other shards ask would find the connection held up almost always.
const BRIEF: Duration = Duration::from_millis(20);

/// How many replicas are to have what is written.
pub(super) struct Replicas {
    wanted: u8,
    /// Whether too few had it, as far as is known. Locked while they are asked: of many
    /// that ask at once each would hold up the connection for the next.
    few: Mutex<bool>,
}

/// What they are to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A claim. Nothing is told to anybody because of it before something is written in its
    /// epoch, and who has that has the claim before it: so a claim does not fail for want
    /// of replicas, and where there are too few it does not ask again.
    Claim,
    /// Groups.
    Groups,
}

/// One asking; the next one waits for its end.
pub(super) struct Asking<'a> {
    wanted: u8,
    limit: Duration,
    few: MutexGuard<'a, bool>,
}

impl Replicas {
    /// None: nothing is asked.
    pub(super) fn new(wanted: u8) -> Self {
        Self {
            wanted,
            few: Mutex::new(false),
        }
    }

    /// The turn to ask, if it is to be asked at all.
    pub(super) async fn turn(&self, what: What) -> Option<Asking<'_>> {
        if self.wanted == 0 {
            return None;
        }
        let mut few = self.few.lock().await;
        if *few && what == What::Claim {
            return None;
        }
        let limit = if *few { BRIEF } else { REPLICATION };
        // Who gives up before there is an answer leaves it so: they are slow at least.
        *few = true;
        let wanted = self.wanted;
        Some(Asking { wanted, limit, few })
    }
}

impl Asking<'_> {
    /// Asks behind what a pipeline writes: the server waits for what was written over the
    /// same connection.
    pub(super) fn add_to(&self, pipeline: &mut Pipeline) {
        let limit = self.limit.as_millis().to_string();
        pipeline.cmd("WAIT").arg(self.wanted).arg(limit);
    }

    /// Reads how many of the replicas of the server at `address` have it.
    ///
    /// # Errors
    /// [`StoreError::Unreplicated`]
    pub(super) fn answered(
        mut self,
        answer: Option<Value>,
        address: &str,
    ) -> Result<(), StoreError> {
        // With a sign: read without one, a number below zero would be a large one.
        let have = answer.and_then(|answer| redis::from_redis_value::<i64>(answer).ok());
        let (have, wanted) = (have.unwrap_or(0), self.wanted);
        *self.few = have < i64::from(wanted);
        match *self.few {
            false => Ok(()),
            true => Err(StoreError::Unreplicated(format!(
                "{address} has it confirmed by {have} of the {wanted} that are to have it"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_is_asked_where_none_are_wanted() {
        let replicas = Replicas::new(0);
        for what in [What::Claim, What::Groups] {
            assert!(replicas.turn(what).await.is_none(), "{what:?}");
        }
    }

    #[tokio::test]
    async fn claims_ask_only_while_there_are_enough() {
        let replicas = Replicas::new(2);
        for (answer, enough) in [
            (Some(Value::Int(2)), true),
            (Some(Value::Int(1)), false),
            (Some(Value::Int(3)), true),
            (Some(Value::Int(-1)), false),
            (Some(Value::Int(2)), true),
            (None, false),
        ] {
            let asking = replicas.turn(What::Groups).await.unwrap();
            let answered = asking.answered(answer, "here");
            assert_eq!(answered.is_ok(), enough, "{answered:?}");
            let claims = replicas.turn(What::Claim).await;
            assert_eq!(claims.is_some(), enough);
        }
    }

    #[tokio::test]
    async fn who_are_known_to_be_missing_are_waited_for_briefly() {
        let replicas = Replicas::new(1);
        for (limit, have) in [
            (REPLICATION, 1),
            (REPLICATION, 0),
            (BRIEF, 0),
            (BRIEF, 1),
            (REPLICATION, 1),
        ] {
            let asking = replicas.turn(What::Groups).await.unwrap();
            assert_eq!(asking.limit, limit);
            let answered = asking.answered(Some(Value::Int(have)), "here");
            assert_eq!(answered.is_ok(), have == 1);
        }
    }

    #[tokio::test]
    async fn who_gives_up_waiting_keeps_claims_from_asking() {
        let replicas = Replicas::new(1);
        drop(replicas.turn(What::Claim).await.unwrap());
        assert!(replicas.turn(What::Claim).await.is_none());
        assert!(replicas.turn(What::Groups).await.is_some());
    }
}
