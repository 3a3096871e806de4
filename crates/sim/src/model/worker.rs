//! What a worker does, as its driver will: the machine says whether it may.

use hexagram_core::{Epoch, Phase};

use super::message::{Grant, Message, News, Open, Tail};
use super::state::{Running, State};
use super::words::{Entry, Op, Ops, Remote, WorkerNo};
use super::{Bug, Cluster};

impl Cluster {
    /// The register says who owns the shard.
    pub(super) fn hear_map(&self, state: &mut State, no: WorkerNo, entry: &Entry) {
        let stored = state.store.peek();
        let early = self.bug == Some(Bug::LoadBeforeClaim);
        let worker = &mut state.workers[usize::from(no)];
        if *entry.owner() != no {
            worker.superseded(entry.epoch());
            return;
        }
        if worker.holding.claim(entry.epoch()).is_ok() {
            (worker.claimed, worker.giver, worker.remote) = (false, None, None);
            if early {
                worker.ops = stored;
            }
        }
        let ours = worker.holding.serving() == Some(entry.epoch());
        if let Some(plan) = entry.plan().filter(|_| ours)
            && worker.holding.freeze(plan.clone()).is_ok()
        {
            state.tell_edges(&News::Moving(entry.epoch(), plan.to, plan.epoch));
        }
    }

    pub(super) fn resume(&self, state: &mut State, no: WorkerNo) -> Option<()> {
        let buggy = self.bug == Some(Bug::ResumeAfterGrant);
        let worker = state.worker(no)?;
        let (epoch, plan) = match worker.holding.phase().clone() {
            Phase::Frozen { plan, .. } => (worker.holding.resume().ok()?, plan.epoch),
            Phase::Granted(plan) if buggy => {
                let epoch = Epoch::new(plan.epoch.get() - 1)?;
                worker.holding = hexagram_core::Holding::default();
                worker.holding.claim(epoch).ok()?;
                worker.holding.activate(epoch).ok()?;
                (epoch, plan.epoch)
            }
            _ => return None,
        };
        state.tell_edges(&News::Resumed(epoch));
        state.network.insert(Message::GaveUp { epoch: plan });
        Some(())
    }

    pub(super) fn grant(&self, state: &mut State, no: WorkerNo) -> Option<()> {
        let worker = state.worker(no)?;
        let plan = worker.holding.grant().ok()?;
        worker.gave = worker.gave.max(Some(plan.epoch));
        let tails = worker.running.keys();
        let grant = Grant {
            from: no,
            to: plan.to,
            epoch: plan.epoch,
            ops: worker.ops,
            tails: tails.fold(Ops::default(), |tails, op| tails.with(*op)),
        };
        state.network.insert(Message::Grant(grant));
        Some(())
    }

    /// A grant arrives: the state is there, the epoch is to be claimed.
    pub(super) fn take(&self, state: &mut State, grant: &Grant) -> Option<()> {
        let worker = state.worker(grant.to)?;
        worker.holding.claim(grant.epoch).ok()?;
        worker.ops = grant.ops;
        (worker.claimed, worker.giver) = (false, Some(grant.from));
        worker.remote = Some(Remote {
            at: grant.from,
            granted: grant.epoch,
            ops: grant.tails,
        })
        .filter(|remote| remote.ops != Ops::default());
        Some(())
    }

    /// Claim before load, in one script.
    pub(super) fn claim(&self, state: &mut State, no: WorkerNo) -> Option<()> {
        let worker = &mut state.workers[usize::from(no)];
        let Phase::Claiming(epoch) = *worker.holding.phase() else {
            return None;
        };
        match state.store.claim(epoch) {
            Some((stored, tails)) => {
                worker.claimed = true;
                match worker.giver {
                    Some(_) => state.store.keep_tails(worker.remote),
                    None => worker.remote = tails,
                }
                if worker.giver.is_none() && self.bug != Some(Bug::LoadBeforeClaim) {
                    worker.ops = stored;
                }
            }
            None => {
                let later = epoch.next()?;
                worker.superseded(later);
            }
        }
        Some(())
    }

    pub(super) fn activate(&self, state: &mut State, no: WorkerNo) -> Option<()> {
        let worker = state.worker(no)?;
        let Phase::Claiming(epoch) = *worker.holding.phase() else {
            return None;
        };
        worker.holding.activate(epoch).ok()?;
        let giver = worker.giver;
        let other = state.seen.served.insert(epoch, no);
        state.seen.shared_epoch |= other.is_some_and(|other| other != no);
        state.tell_edges(&News::Owner(no, epoch));
        state.network.insert(Message::Report { from: no, epoch });
        let taken = giver.map(|to| Message::Taken { to, epoch });
        state.network.extend(taken);
        Some(())
    }

    /// A client's message arrives. What is not admitted goes back to the edge,
    /// which sends it again as if it had heard nothing.
    pub(super) fn admit(&self, state: &mut State, open: &Open) -> Option<()> {
        let worker = state.worker(open.to)?;
        if worker.holding.serving() != Some(open.epoch) {
            return None;
        }
        let elsewhere = worker
            .remote
            .is_some_and(|remote| remote.ops.contains(open.op));
        let gone = worker.ops.contains(Op::Delete) && open.op != Op::Delete;
        if elsewhere || gone || worker.running.contains_key(&open.op) {
            return None;
        }
        if worker.ops.contains(open.op) {
            let (edge, op) = (open.edge, open.op);
            state.network.insert(Message::Answer { edge, op });
            return Some(());
        }
        let running = Running {
            edge: open.edge,
            admitted: open.epoch,
        };
        worker.running.insert(open.op, running);
        Some(())
    }

    /// An exchange comes to its end: here, or as a tail.
    pub(super) fn finish(&self, state: &mut State, no: WorkerNo, op: Op) -> Option<()> {
        let worker = state.worker(no)?;
        let Running { edge, admitted } = *worker.running.get(&op)?;
        match (worker.holding.phase(), op) {
            (_, Op::Use) => {
                worker.running.remove(&op);
                if !worker.ops.contains(Op::Delete) {
                    state.answer_use(edge);
                }
            }
            (Phase::Serving(epoch) | Phase::Frozen { epoch, .. }, _) if *epoch == admitted => {
                let epoch = *epoch;
                self.change(state, no, op, edge, epoch)?;
            }
            (Phase::Granted(plan), _) => {
                let tail = Tail {
                    op,
                    edge,
                    to: plan.to,
                    admitted,
                    granted: plan.epoch,
                };
                worker.running.remove(&op);
                state.network.insert(Message::Tail(tail));
            }
            _ => {
                worker.running.remove(&op);
            }
        }
        Some(())
    }

    /// Writes a change and acknowledges it.
    fn change(
        &self,
        state: &mut State,
        no: WorkerNo,
        op: Op,
        edge: u8,
        epoch: Epoch,
    ) -> Option<()> {
        if op == Op::Delete && self.has_tails_to_tell(state, no) {
            let at = state.workers[usize::from(no)].remote?.at;
            state.network.insert(Message::DeleteTails { at, from: no });
            return Some(());
        }
        if self.bug == Some(Bug::AckBeforeWrite) && !state.acknowledged_in(epoch).contains(op) {
            state.acknowledge(no, op, edge, epoch);
            return Some(());
        }
        state.workers[usize::from(no)].running.remove(&op);
        let stale = self.bug == Some(Bug::StaleWriteAccepted);
        if state.store.write(epoch, op, stale) {
            state.acknowledge(no, op, edge, epoch);
        } else {
            let later = epoch.next()?;
            state.worker(no)?.superseded(later);
        }
        Some(())
    }

    fn has_tails_to_tell(&self, state: &State, no: WorkerNo) -> bool {
        let remote = state.workers[usize::from(no)].remote;
        self.bug != Some(Bug::DeleteSkipsTails)
            && remote.is_some_and(|remote| remote.ops.contains(Op::Use))
    }

    /// What a tail has changed is written by the new owner, which knows it from
    /// the grant (invariant I8).
    pub(super) fn end_tail(&self, state: &mut State, tail: &Tail) -> Option<()> {
        let worker = state.worker(tail.to)?;
        let epoch = worker.holding.serving()?;
        let listed = worker.remote.is_some_and(|remote| {
            remote.granted == tail.granted && epoch == tail.granted && remote.ops.contains(tail.op)
        });
        if worker.ops.contains(tail.op) || !(listed || self.bug == Some(Bug::ForeignTail)) {
            return None;
        }
        state.seen.foreign_tail |= !listed;
        self.change(state, tail.to, tail.op, tail.edge, epoch)
    }

    /// The old owner hears that a session is over.
    pub(super) fn delete_tails(
        &self,
        state: &mut State,
        at: WorkerNo,
        from: WorkerNo,
    ) -> Option<()> {
        let worker = state.worker(at)?;
        worker.running.remove(&Op::Use);
        worker.ops = worker.ops.with(Op::Delete);
        state.network.insert(Message::TailsDeleted { to: from });
        Some(())
    }
}

impl State {
    fn acknowledged_in(&self, epoch: Epoch) -> Ops {
        let acknowledged = self.seen.acknowledged.get(&epoch);
        acknowledged.copied().unwrap_or_default()
    }

    fn acknowledge(&mut self, no: WorkerNo, op: Op, edge: u8, epoch: Epoch) {
        let worker = &mut self.workers[usize::from(no)];
        worker.ops = worker.ops.with(op);
        let acknowledged = self.acknowledged_in(epoch).with(op);
        self.seen.acknowledged.insert(epoch, acknowledged);
        self.network.insert(Message::Answer { edge, op });
    }

    fn answer_use(&mut self, edge: u8) {
        let over = self.seen.acknowledged.values();
        self.seen.rose_again |= over.copied().any(|ops| ops.contains(Op::Delete));
        self.network.insert(Message::Answer { edge, op: Op::Use });
    }
}
