//! Waiting for replicas: what is written counts as stored once enough of them have it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::{Pipeline, Value};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::store::StoreError;

/// The server waits this long for them, and answers nothing else on the connection
/// meanwhile: what is asked behind two such waits must still be answered in time.
const REPLICATION: Duration = Duration::from_millis(400);
/// And this long while too few are known to be there: batches follow each other, and what
/// other shards ask would find the connection held up almost always.
const BRIEF: Duration = Duration::from_millis(20);
/// Once in so long they are given all the time even then: replicas that are farther away than
/// that would not be found again while writing goes on. Not more often, for whoever claims a
/// shard meanwhile waits, and may give the store up.
const AGAIN: Duration = Duration::from_secs(30);

/// How many replicas are to have what is written.
pub(super) struct Replicas {
    wanted: u8,
    /// [`AGAIN`], but in a test that cannot wait so long.
    pub(super) again: Duration,
    /// Whether too few are known to be there. Beside the lock: who does not ask because of that
    /// does not wait for who asks.
    few: AtomicBool,
    /// When they were given all the time last; `None` again after an asking that was given up.
    /// Locked while they are asked: of many that ask at once each would hold up the connection
    /// for the next.
    patient: Mutex<Option<Instant>>,
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
    /// Whether too few have it; `None` until there is an answer.
    few: Option<bool>,
    /// Where that is told at its end.
    known: &'a AtomicBool,
    patient: MutexGuard<'a, Option<Instant>>,
}

impl Replicas {
    /// None: nothing is asked.
    pub(super) fn new(wanted: u8) -> Self {
        Self {
            wanted,
            again: AGAIN,
            few: AtomicBool::default(),
            patient: Mutex::default(),
        }
    }

    /// The turn to ask, if it is to be asked at all.
    pub(super) async fn turn(&self, what: What) -> Option<Asking<'_>> {
        if self.is_vain(what) {
            return None;
        }
        let mut patient = self.patient.lock().await;
        // Whoever had the turn before may have found that.
        if self.is_vain(what) {
            return None;
        }
        Some(Asking {
            wanted: self.wanted,
            limit: self.limit(&mut patient, Instant::now()),
            few: None,
            known: &self.few,
            patient,
        })
    }

    fn is_vain(&self, what: What) -> bool {
        self.wanted == 0 || (what == What::Claim && self.are_few())
    }

    fn are_few(&self) -> bool {
        self.few.load(Ordering::Relaxed)
    }

    /// How long to wait for them `now`, when `patient` is the time at which they were given all
    /// the time last.
    fn limit(&self, patient: &mut Option<Instant>, now: Instant) -> Duration {
        let is_recent = |last| now.duration_since(last) < self.again;
        if self.are_few() && patient.is_some_and(is_recent) {
            return BRIEF;
        }
        *patient = Some(now);
        REPLICATION
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if self.few.is_none() {
            // They are slow at least, but nobody knows that all the time is too short.
            *self.patient = None;
        }
        self.known
            .store(self.few.unwrap_or(true), Ordering::Relaxed);
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
        let few = have < i64::from(wanted);
        self.few = Some(few);
        match few {
            false => Ok(()),
            true => Err(StoreError::Unreplicated(format!(
                "{address} has it confirmed by {have} of the {wanted} that are to have it"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

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
    async fn claims_wait_for_who_asks_only_if_they_may_ask_themselves() {
        let replicas = Replicas::new(1);
        for (have, waits) in [(1, true), (0, true), (0, false), (1, false), (1, true)] {
            let asking = replicas.turn(What::Groups).await.unwrap();
            let claim = replicas.turn(What::Claim).now_or_never();
            assert_eq!(claim.is_none(), waits);
            assert!(claim.flatten().is_none(), "it has no turn");
            let answered = asking.answered(Some(Value::Int(have)), "here");
            assert_eq!(answered.is_ok(), have == 1);
        }
    }

    #[tokio::test(start_paused = true)]
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

    #[tokio::test(start_paused = true)]
    async fn who_are_missing_are_given_all_the_time_now_and_then() {
        let replicas = Replicas::new(1);
        let moment = Duration::from_millis(1);
        for (later, limit) in [
            (Duration::ZERO, REPLICATION),
            (AGAIN - moment, BRIEF),
            (moment, REPLICATION),
            (moment, BRIEF),
            (AGAIN, REPLICATION),
        ] {
            tokio::time::advance(later).await;
            let asking = replicas.turn(What::Groups).await.unwrap();
            assert_eq!(asking.limit, limit);
            assert!(asking.answered(Some(Value::Int(0)), "here").is_err());
        }
    }

    #[tokio::test]
    async fn a_claim_that_is_given_up_keeps_others_from_asking_but_no_group_from_waiting() {
        let replicas = Replicas::new(1);
        drop(replicas.turn(What::Claim).await.unwrap());
        assert!(replicas.turn(What::Claim).await.is_none());
        let asking = replicas.turn(What::Groups).await.unwrap();
        assert_eq!(asking.limit, REPLICATION);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_keeps_claims_from_asking() {
        let replicas = Replicas::new(1);
        for limit in [REPLICATION, BRIEF] {
            let asking = replicas.turn(What::Groups).await.unwrap();
            assert_eq!(asking.limit, limit);
            drop(asking);
            assert!(replicas.turn(What::Claim).await.is_none());
            let next = replicas.turn(What::Groups).await.unwrap();
            assert_eq!(next.limit, REPLICATION, "the next has all the time");
            assert!(next.answered(Some(Value::Int(0)), "here").is_err());
        }
    }
}
