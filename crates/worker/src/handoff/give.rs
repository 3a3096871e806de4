//! Giving a shard away: prepare, copy, freeze, grant (DESIGN 7, steps 2 to 4).

use std::sync::Arc;
use std::time::Duration;

use hexagram_core::{Owner, Phase, Plan, ShardId};
use hexagram_proto::handoff::handoff_client::HandoffClient;
use hexagram_proto::handoff::{Move, ShardState};
use hexagram_proto::{explained, innermost};
use hexagram_runtime::random::jittered;
use hexagram_store::Journal;
use prost::Message;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::copy::{Copied, copy};
use super::handoffs::{Handoffs, step};
use super::taker::{Taker, parts};
use super::{state, storage};
use crate::neighbour::Neighbour;
use crate::shard::Shard;
use crate::successor::Successor;

/// The taker has seen the plan by then, or the move is given up.
const PREPARE: Duration = Duration::from_secs(3);
/// A taker that was ready so lately is not asked again.
const LATELY: Duration = Duration::from_millis(10);
/// Upstream sessions that are being opened are open by then, before anything is frozen.
const OPENED: Duration = Duration::from_millis(250);
/// What upstreams have said unasked reaches its clients by then; what does not is
/// replayed by the taker. An upstream session that is not open by then stays here.
/// Edges keep for 250 ms what is sent meanwhile, and the taker needs its time as well.
const QUIET: Duration = Duration::from_millis(50);
/// For one attempt to hand the state over.
const GRANT: Duration = Duration::from_secs(5);
/// A move that is given up lets go of the shard by then.
const LET_GO: Duration = Duration::from_millis(500);
/// Between two looks whether it has.
const LOOK: Duration = Duration::from_millis(10);
/// Pause between two attempts.
const AGAIN: Duration = Duration::from_millis(100);

/// Carries out a planned move, or gives it up before the point of no return.
pub(super) async fn give(handoffs: Arc<Handoffs>, shard: ShardId, plan: Plan<Owner>) {
    let giving = Giving {
        meant: handoffs.message(shard, plan.epoch, &handoffs.me, &plan.to),
        handoffs,
        shard,
        plan,
    };
    match giving.prepare().await {
        Ok(taker) => giving.hand_over(taker).await,
        Err(error) => giving.decline(&error),
    }
}

struct Giving {
    handoffs: Arc<Handoffs>,
    shard: ShardId,
    plan: Plan<Owner>,
    meant: Move,
}

impl Giving {
    /// Finds the taker ready. Nothing is frozen yet: the wait costs no client
    /// anything.
    async fn prepare(&self) -> Result<Taker, Status> {
        let prepared = async {
            let mut taker = self.dial().await?;
            taker.prepare(self.meant.clone()).await.map_err(explained)?;
            Ok(taker)
        };
        self.in_time(prepared).await
    }

    async fn dial(&self) -> Result<Taker, Status> {
        let address = self.handoffs.address(&self.plan.to);
        let address = address.ok_or_else(|| Status::unavailable("its address is not known"))?;
        let channel = address.dial().await;
        let channel = channel.map_err(|error| Status::unavailable(innermost(&error)))?;
        Ok(HandoffClient::new(channel))
    }

    fn decline(&self, error: &Status) {
        tracing::warn!(
            shard = self.shard.get(), to = %self.plan.to, error = error.message(),
            "a planned move is given up"
        );
        let mut seat = self.handoffs.seats[self.shard.index()].lock();
        // A later plan says so by itself.
        if seat.holding.decline(self.plan.epoch).is_ok() {
            step("declined", self.shard, self.plan.epoch);
            seat.resumed = seat.resumed.max(Some(self.plan.epoch));
            drop(seat);
            self.handoffs.tell_controller();
        }
    }

    async fn hand_over(&self, mut taker: Taker) {
        let copied = match self.make_ready(&mut taker).await {
            Ok(copied) => copied,
            Err(error) => return self.decline(&error),
        };
        let Some(shard) = self.frozen().await else {
            return self.decline(&Status::aborted("it stands no more"));
        };
        let calm = async { tokio::join!(shard.hushed(), shard.settled()) };
        let _ = tokio::time::timeout(QUIET, calm).await;
        if !self.is_planned() || shard.has_failed() {
            return self.resume(&shard);
        }
        if let Some(state) = self.grant(&shard) {
            self.deliver(taker, &shard, &state, &copied).await;
        }
    }

    /// Does beforehand what the shard need not be frozen for. Where that takes a while, the
    /// taker may have died meanwhile: it is asked again.
    async fn make_ready(&self, taker: &mut Taker) -> Result<Copied, Status> {
        let served = self.handoffs.host.place_of(self.shard).shard();
        let served = served.ok_or_else(|| Status::aborted("it is not served here any more"))?;
        let begun = Instant::now();
        let copied = copy(taker, &self.meant, &served).await?;
        let _ = tokio::time::timeout(OPENED, served.settled()).await;
        if begun.elapsed() >= LATELY {
            self.in_time(taker.prepare(self.meant.clone())).await?;
        }
        Ok(copied)
    }

    async fn in_time<T>(
        &self,
        asked: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        tokio::time::timeout(PREPARE, asked)
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("the taker does not answer")))
    }

    /// Stops admitting as long as the move is planned; a move before it, which comes to
    /// nothing, may have the shard frozen for a moment still.
    async fn frozen(&self) -> Option<Arc<Shard>> {
        let deadline = Instant::now() + LET_GO;
        while self.is_planned() && Instant::now() < deadline {
            if let Some(shard) = self.freeze() {
                return Some(shard);
            }
            tokio::time::sleep(LOOK).await;
        }
        None
    }

    /// Whether the register still wants the move; its taker may have died.
    fn is_planned(&self) -> bool {
        let map = self.handoffs.map();
        map.is_some_and(|map| map.entry(self.shard).plan() == Some(&self.plan))
    }

    /// Gives the move up and serves on.
    fn resume(&self, shard: &Shard) {
        let mut seat = self.handoffs.seats[self.shard.index()].lock();
        if let Ok(epoch) = seat.holding.resume() {
            seat.resumed = seat.resumed.max(Some(self.plan.epoch));
            shard.thaw();
            step("resumed", self.shard, epoch);
            self.handoffs.host.edges.resumed(self.shard, epoch);
            self.handoffs.tell_controller();
        }
    }

    /// Stops admitting; `None` when something else has happened meanwhile.
    fn freeze(&self) -> Option<Arc<Shard>> {
        let mut seat = self.handoffs.seats[self.shard.index()].lock();
        seat.holding.freeze(self.plan.clone()).ok()?;
        let shard = self.handoffs.host.place_of(self.shard).shard()?;
        shard.freeze(self.plan.to.worker.clone());
        step("frozen", self.shard, self.plan.epoch);
        Some(shard)
    }

    /// The point of no return; gives the state to hand over.
    fn grant(&self, shard: &Shard) -> Option<ShardState> {
        let mut seat = self.handoffs.seats[self.shard.index()].lock();
        // Before the state is read: what is said from now on, the new owner is to hear.
        shard.new_owner.awaited();
        let mut state = state::export(shard, &self.handoffs.host, &self.handoffs.kept);
        let ledger = shard.ledger();
        let journal = ledger.map(|ledger| ledger.journal());
        let settled = journal.and_then(Journal::settled);
        let left = settled.or_else(|| journal.and_then(Journal::written));
        state.recorded = settled.is_some();
        state.left = left.map(storage::mark);
        if seat.holding.grant().is_err() {
            shard.new_owner.nobody();
            return None;
        }
        step("granted", self.shard, self.plan.epoch);
        if let Some(ledger) = ledger {
            ledger.close();
        }
        drop(seat);
        self.handoffs.tell_controller();
        Some(state)
    }

    /// Offers the state until the taker has it or the register knows better.
    async fn deliver(&self, mut taker: Taker, shard: &Shard, state: &ShardState, copied: &Copied) {
        let mut bytes = copied.spared(state.clone()).encode_to_vec();
        while self.is_granted() {
            let parts = futures_util::stream::iter(parts(&self.meant, &bytes));
            let offered = tokio::time::timeout(GRANT, taker.grant(parts)).await;
            match offered.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer"))) {
                Ok(_) => return self.taken(shard),
                Err(error) => {
                    tracing::warn!(
                        shard = self.shard.get(), to = %self.plan.to, error = error.message(),
                        "a granted shard is not taken yet"
                    );
                    if error.code() == Code::DataLoss {
                        bytes = state.encode_to_vec();
                    }
                }
            }
            tokio::time::sleep(jittered(AGAIN)).await;
            if let Ok(again) = self.dial().await {
                taker = again;
            }
        }
        shard.new_owner.known(self.registered());
    }

    /// The taker, where the register has it for the owner.
    fn registered(&self) -> Option<Neighbour> {
        let map = self.handoffs.map()?;
        let entry = map.entry(self.shard);
        let has_it = *entry.owner() == self.plan.to && entry.epoch() == self.plan.epoch;
        has_it.then(|| self.neighbour()).flatten()
    }

    fn neighbour(&self) -> Option<Neighbour> {
        let address = self.handoffs.address(&self.plan.to)?;
        Some(Neighbour::new(self.meant.clone(), address))
    }

    fn is_granted(&self) -> bool {
        let seat = self.handoffs.seats[self.shard.index()].lock();
        *seat.holding.phase() == Phase::Granted(self.plan.clone())
    }

    fn taken(&self, shard: &Shard) {
        shard.new_owner.known(self.neighbour());
        let mut seat = self.handoffs.seats[self.shard.index()].lock();
        if seat.holding.taken(self.plan.epoch) {
            let to = Successor {
                worker: self.plan.to.worker.clone(),
                epoch: self.plan.epoch,
            };
            self.handoffs.leave(self.shard, Some(to), true);
            self.handoffs.tell_controller();
        }
    }
}
