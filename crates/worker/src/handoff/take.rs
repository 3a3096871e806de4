//! Taking a shard that another worker gives, and what reaches this worker about
//! exchanges of shards that it gave away.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hexagram_core::{Epoch, HoldingError, Incarnation, Owner, Phase, ShardId};
use hexagram_proto::handoff::handoff_server::{Handoff, HandoffServer};
use hexagram_proto::handoff::{
    Concluded, Forwarded, GrantPart, LastWords, Move, Prepared, ShardState, TailMessage, TailQuery,
    Taken,
};
use hexagram_store::Change;
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use super::copy::Copies;
use super::handoffs::{Handoffs, STATE_FORMAT, step};
use super::state::Heir;
use super::storage::{Claiming, Known, SHORT};
use crate::former::Former;
use crate::ledger::Ledger;
use crate::shard::Shard;

/// A plan that the giver has seen is seen here by then.
const SEEN: Duration = Duration::from_secs(2);
/// Largest state of a shard, in bytes.
const MAX_STATE: usize = 256 << 20;
/// Largest message about a call: what a client or an upstream may say at once, and a bit.
const MAX_MESSAGE: usize = 80 << 20;

/// Serves other workers.
pub(crate) struct TakeService(pub(crate) Arc<Handoffs>);

impl TakeService {
    pub(crate) fn server(handoffs: Arc<Handoffs>) -> HandoffServer<Self> {
        HandoffServer::new(Self(handoffs)).max_decoding_message_size(MAX_MESSAGE)
    }
}

/// A move that is meant for this worker.
struct Meant {
    shard: ShardId,
    epoch: Epoch,
    from: Owner,
}

#[tonic::async_trait]
impl Handoff for TakeService {
    async fn prepare(&self, request: Request<Move>) -> Result<Response<Prepared>, Status> {
        self.0.host.pulse.sound().await;
        let meant = self.0.meant(request.get_ref())?;
        self.0.expect(meant).await?;
        Ok(Response::new(Prepared {}))
    }

    async fn copy(
        &self,
        request: Request<Streaming<GrantPart>>,
    ) -> Result<Response<Prepared>, Status> {
        let mut parts = request.into_inner();
        let meant = self.0.meant(&named(&mut parts).await?)?;
        self.0.expected(&meant)?;
        let copies = Arc::new(Copies::of(collect(parts).await?));
        let mut seat = self.0.seats[meant.shard.index()].lock();
        seat.copies = Some((meant.epoch, copies));
        Ok(Response::new(Prepared {}))
    }

    async fn grant(
        &self,
        request: Request<Streaming<GrantPart>>,
    ) -> Result<Response<Taken>, Status> {
        let mut parts = request.into_inner();
        let named = named(&mut parts).await?;
        let meant = self.0.meant(&named)?;
        if let Some(epoch) = self.0.spent(&meant)? {
            return Ok(Response::new(taken(epoch)));
        }
        let state = collect(parts).await?;
        self.0.host.pulse.sound().await;
        self.0.expected(&meant)?;
        let filled = self.0.copies(&meant).fill(state);
        let missing = || Status::data_loss("what was copied before is not here: send all of it");
        let state = filled.ok_or_else(missing)?;
        // A giver that does not wait for the answer leaves no shard half taken.
        let handoffs = Arc::clone(&self.0);
        let taking = tokio::spawn(async move { handoffs.take(&meant, state, named).await });
        let ended = |error: tokio::task::JoinError| Status::internal(error.to_string());
        let epoch = taking.await.map_err(ended)??;
        Ok(Response::new(taken(epoch)))
    }

    async fn forward(&self, request: Request<TailMessage>) -> Result<Response<Forwarded>, Status> {
        let running = self.0.hear_forwarded(request.into_inner()).await?;
        Ok(Response::new(Forwarded { running }))
    }

    async fn runs(&self, request: Request<TailQuery>) -> Result<Response<Forwarded>, Status> {
        let running = self.0.still_runs(request.get_ref()).await?;
        Ok(Response::new(Forwarded { running }))
    }

    async fn conclude(&self, request: Request<LastWords>) -> Result<Response<Concluded>, Status> {
        self.0.hear_last_words(request.into_inner()).await?;
        Ok(Response::new(Concluded {}))
    }
}

fn taken(epoch: Epoch) -> Taken {
    Taken { epoch: epoch.get() }
}

/// The move that what follows belongs to.
async fn named(parts: &mut Streaming<GrantPart>) -> Result<Move, Status> {
    let first = parts.message().await?.and_then(|part| part.r#move);
    first.ok_or_else(|| Status::invalid_argument("a grant names its move first"))
}

async fn collect(mut parts: Streaming<GrantPart>) -> Result<ShardState, Status> {
    let mut state = Vec::new();
    while let Some(part) = parts.message().await? {
        if state.len() + part.state.len() > MAX_STATE {
            return Err(Status::resource_exhausted("the shard's state is too large"));
        }
        state.extend_from_slice(&part.state);
    }
    ShardState::decode(&state[..])
        .map_err(|error| Status::invalid_argument(format!("unreadable state: {error}")))
}

impl Handoffs {
    /// Refuses a move that is meant for another cluster, or another worker.
    fn meant(&self, named: &Move) -> Result<Meant, Status> {
        let refuse = |reason: String| Err(Status::failed_precondition(reason));
        if named.cluster != self.cluster {
            return refuse(format!("this worker belongs to cluster {:?}", self.cluster));
        }
        let count = u32::from(self.host.count().get());
        if named.shards != count {
            return refuse(format!("this cluster has {count} shards"));
        }
        let me = (self.me.worker.as_str(), self.me.incarnation.get());
        if (named.to.as_str(), named.to_incarnation) != me {
            return refuse(format!("this is worker {}", self.me));
        }
        if named.state_format != STATE_FORMAT {
            return refuse(format!("this worker reads state of format {STATE_FORMAT}"));
        }
        read(self, named).ok_or_else(|| Status::invalid_argument("malformed move"))
    }

    /// Waits until the register shows the plan, and remembers who may give.
    async fn expect(&self, meant: Meant) -> Result<(), Status> {
        let mut register = self.membership.register.clone();
        let planned = register.wait_for(|map| {
            map.as_ref().is_some_and(|map| {
                let entry = map.entry(meant.shard);
                let plan = entry.plan();
                *entry.owner() == meant.from
                    && plan.is_some_and(|plan| plan.to == self.me && plan.epoch == meant.epoch)
            })
        });
        let seen = tokio::time::timeout(SEEN, planned).await;
        if !matches!(seen, Ok(Ok(_))) {
            return Err(Status::failed_precondition(
                "the register shows no such move",
            ));
        }
        let mut seat = self.seats[meant.shard.index()].lock();
        seat.expected = Some((meant.from, meant.epoch));
        step("prepared", meant.shard, meant.epoch);
        Ok(())
    }

    /// The epoch that answers a grant which came before, or came too late: the
    /// giver is to forget the shard.
    fn spent(&self, meant: &Meant) -> Result<Option<Epoch>, Status> {
        let seat = self.seats[meant.shard.index()].lock();
        if *seat.holding.phase() == Phase::Claiming(meant.epoch) {
            // The giver is to keep the state until it is served here.
            return Err(Status::unavailable("the shard is being taken"));
        }
        let spent = seat.holding.spent();
        Ok(spent.filter(|spent| *spent >= meant.epoch))
    }

    fn expected(&self, meant: &Meant) -> Result<(), Status> {
        let seat = self.seats[meant.shard.index()].lock();
        let expected = seat.expected.as_ref();
        match expected.is_some_and(|(from, epoch)| *from == meant.from && *epoch == meant.epoch) {
            true => Ok(()),
            false => Err(Status::failed_precondition(
                "this worker expects no such grant",
            )),
        }
    }

    /// What the giver has sent before its grant.
    fn copies(&self, meant: &Meant) -> Arc<Copies> {
        let seat = self.seats[meant.shard.index()].lock();
        let copies = seat.copies.as_ref();
        let copies = copies.filter(|(epoch, _)| *epoch == meant.epoch);
        copies
            .map(|(_, copies)| Arc::clone(copies))
            .unwrap_or_default()
    }

    /// Takes the shard and serves it.
    async fn take(&self, meant: &Meant, state: ShardState, named: Move) -> Result<Epoch, Status> {
        // Readable or not is known before the epoch is used up.
        let heir = Heir {
            id: meant.shard,
            epoch: meant.epoch,
            host: &self.host,
            kept: &self.kept,
            ledger: None,
            after_loss: false,
        };
        heir.check(&state)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let over = |error: HoldingError| Status::failed_precondition(error.to_string());
        let seat = &self.seats[meant.shard.index()];
        seat.lock().holding.claim(meant.epoch).map_err(over)?;
        let tails = Former::of(&state, named, self.address(&meant.from));
        let claimed = self.claim(meant, &state, tails.as_ref()).await?;
        let known = claimed.as_ref().map(|(_, known)| *known);
        let ledger = claimed.map(|(ledger, _)| ledger);
        let shard = Heir { ledger, ..heir }
            .import(state)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        *shard.former.lock() = tails.map(Arc::new);
        if known == Some(Known::Most) {
            self.write_over(&shard);
        }
        match self.activate(&mut seat.lock(), Arc::new(shard)) {
            true => Ok(meant.epoch),
            false => Err(Status::failed_precondition(
                "something newer came in between",
            )),
        }
    }

    /// Claims the shard's record, where there is a store, and has it know what runs on at
    /// the giver. A store that does not answer is told later: who granted the shard writes
    /// no more. So is one whose record is not what the giver has written.
    async fn claim(
        &self,
        meant: &Meant,
        state: &ShardState,
        tails: Option<&Former>,
    ) -> Result<Option<(Arc<Ledger>, Known)>, Status> {
        let Some(storage) = &self.storage else {
            return Ok(None);
        };
        let known = match storage.claim(meant.shard, meant.epoch).await {
            // The giver may not have noticed yet that the store was rolled back.
            Claiming::Mine { floor, known, left } if known => Known::of(state, floor, left),
            Claiming::Mine { .. } | Claiming::Away => Known::Nothing,
            Claiming::Fenced(by) => {
                self.fenced(meant.shard, by);
                return Err(Status::failed_precondition(format!(
                    "epoch {by} was claimed in the store"
                )));
            }
        };
        let is_there = known != Known::Nothing;
        let ledger = storage.ledger(meant.shard, meant.epoch, is_there);
        if is_there {
            let none = Change::Tails(Bytes::new());
            let change = tails.map_or(none, Former::change);
            let ticket = ledger.journal().write(vec![change]);
            if tails.is_some() {
                // What cannot be written now is written with all the rest later.
                let _ = tokio::time::timeout(SHORT, ledger.settled(ticket)).await;
            }
        }
        Ok(Some((ledger, known)))
    }

    /// Has all of a shard stored over what its record has.
    fn write_over(&self, shard: &Shard) {
        let Some(ledger) = shard.ledger() else { return };
        let entries = shard.entries(&self.host.federation(), ledger);
        let entries = entries.into_iter().filter(|changes| !changes.is_empty());
        entries.for_each(|changes| ledger.journal().note(changes));
    }
}

fn read(handoffs: &Handoffs, named: &Move) -> Option<Meant> {
    Some(Meant {
        shard: handoffs.host.shard_id(named.shard)?,
        epoch: Epoch::new(named.epoch)?,
        from: Owner {
            worker: named.from.parse().ok()?,
            incarnation: Incarnation::new(named.from_incarnation)?,
        },
    })
}
