//! One shard, its register, the store, three workers and edges, with every
//! message lost, repeated or late. The machines are those of
//! [`hexagram_core`]; what stands here is what drives them.
//!
//! Limits: safety only; one shard; a compare-and-swap or a store script is one
//! step; a worker that crashed stays away (its restart is a new worker).

mod edge;
mod message;
mod properties;
mod state;
mod store;
mod words;
mod worker;

use hexagram_core::{EntryError, Epoch};
use stateright::{Model, Property};

pub use message::{Message, Messages, News};
pub use state::State;
pub use words::{EdgeId, Op, Ops, WorkerNo};

/// A mistake built in on purpose: the properties must find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bug {
    /// An owner that has granted serves on when nobody answers (redis#15629).
    ResumeAfterGrant,
    /// A change is acknowledged before the store has it.
    AckBeforeWrite,
    /// An aborted move's epoch is given again.
    AbortUnburnt,
    /// A new owner reads the store before it has claimed its epoch there.
    LoadBeforeClaim,
    /// The store takes a write of an older epoch.
    StaleWriteAccepted,
    /// An edge raises its epoch when it hears that a shard is moving.
    EdgeRaisesOnMoving,
    /// An owner takes over any exchange that another has admitted.
    ForeignTail,
    /// DELETE does not reach the exchanges that still run at the old owner.
    DeleteSkipsTails,
}

/// What may happen, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Cluster {
    /// Edges; each may send every operation.
    pub edges: u8,
    /// What clients do, once each, repeated when unanswered.
    pub ops: &'static [Op],
    /// Planned moves.
    pub moves: u8,
    /// Workers that die.
    pub crashes: u8,
    /// Times that a living owner is taken for dead.
    pub suspicions: u8,
    /// The built-in mistake.
    pub bug: Option<Bug>,
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The controller plans a move.
    Plan(WorkerNo),
    /// The controller gives the move up.
    Abort,
    /// The controller gives the shard away without its owner.
    FailOver(WorkerNo),
    /// A worker dies.
    Crash(WorkerNo),
    /// A frozen owner serves on.
    Resume(WorkerNo),
    /// A frozen owner gives the shard away.
    Grant(WorkerNo),
    /// A new owner claims its epoch in the store and reads what is there.
    Claim(WorkerNo),
    /// A new owner begins to serve.
    Activate(WorkerNo),
    /// A worker ends an exchange.
    Finish(WorkerNo, Op),
    /// A new owner gives up on the old one's exchanges: it is dead.
    LoseTails(WorkerNo),
    /// An edge sends an operation, or sends it again.
    Send(EdgeId, Op),
    /// A message arrives.
    Deliver(Message),
}

impl Model for Cluster {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.controller_actions(state, actions);
        for worker in state.living() {
            self.worker_actions(state, worker, actions);
        }
        for edge in 0..self.edges {
            let unanswered = self.ops.iter().filter(|op| state.may_send(edge, **op));
            actions.extend(unanswered.map(|op| Action::Send(edge, *op)));
        }
        actions.extend(state.network.iter().cloned().map(Action::Deliver));
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Plan(to) => {
                state.moves += 1;
                self.register(&mut state, |entry| entry.move_to(to))?;
            }
            Action::Abort => {
                let epoch = state.register.plan()?.epoch;
                self.abort(&mut state, epoch)?;
            }
            Action::FailOver(to) => self.fail_over(&mut state, to)?,
            Action::Crash(worker) => state.crash(worker),
            Action::Resume(worker) => self.resume(&mut state, worker)?,
            Action::Grant(worker) => self.grant(&mut state, worker)?,
            Action::Claim(worker) => self.claim(&mut state, worker)?,
            Action::Activate(worker) => self.activate(&mut state, worker)?,
            Action::Finish(worker, op) => self.finish(&mut state, worker, op)?,
            Action::LoseTails(worker) => state.worker(worker)?.remote = None,
            Action::Send(edge, op) => state.send(edge, op),
            Action::Deliver(message) => self.deliver(&mut state, message)?,
        }
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all(self)
    }
}

impl Cluster {
    fn controller_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let entry = &state.register;
        let others = || state.living().filter(|worker| worker != entry.owner());
        if state.moves < self.moves && entry.plan().is_none() {
            actions.extend(others().map(Action::Plan));
        }
        // A living taker may have been granted the shard: only the giver knows
        // that it was not.
        if entry.plan().is_some_and(|plan| !state.is_alive(plan.to)) {
            actions.push(Action::Abort);
        }
        let candidates = state.living().filter(|to| self.may_fail_over(state, *to));
        actions.extend(candidates.map(Action::FailOver));
    }

    /// Whoever may be serving must be dead, or wrongly taken for dead. The taker
    /// of a planned move may be serving already: without proof that it is dead,
    /// only it may follow a dead giver.
    fn may_fail_over(&self, state: &State, to: WorkerNo) -> bool {
        let entry = &state.register;
        let stranded = entry.plan().is_none() && state.has_granted(*entry.owner());
        let at_fault = stranded
            || !state.is_alive(*entry.owner())
            || entry.plan().is_some_and(|plan| !state.is_alive(plan.to));
        let spare = state.suspicions < self.suspicions && to != *entry.owner();
        spare || (at_fault && !state.deposes(to))
    }

    fn worker_actions(&self, state: &State, no: WorkerNo, actions: &mut Vec<Action>) {
        use hexagram_core::Phase;
        let worker = &state.workers[usize::from(no)];
        if state.crashes < self.crashes {
            actions.push(Action::Crash(no));
        }
        match worker.holding.phase() {
            Phase::Frozen { .. } => actions.extend([Action::Resume(no), Action::Grant(no)]),
            Phase::Granted(_) if self.bug == Some(Bug::ResumeAfterGrant) => {
                actions.push(Action::Resume(no));
            }
            Phase::Claiming(_) if worker.claimed => actions.push(Action::Activate(no)),
            Phase::Claiming(_) => actions.push(Action::Claim(no)),
            _ => {}
        }
        let running = worker.running.keys().map(|op| Action::Finish(no, *op));
        actions.extend(running);
        if let Some(remote) = &worker.remote
            && !state.is_alive(remote.at)
        {
            actions.push(Action::LoseTails(no));
        }
    }

    /// A compare-and-swap of the register; who watches it hears of it, some day.
    fn register(
        &self,
        state: &mut State,
        change: impl FnOnce(&words::Entry) -> Result<words::Entry, EntryError>,
    ) -> Option<()> {
        let changed = change(&state.register).ok()?;
        for to in state.living().collect::<Vec<_>>() {
            let entry = changed.clone();
            state.network.insert(Message::Map { to, entry });
        }
        state.tell_edges(&News::Owner(*changed.owner(), changed.epoch()));
        state.register = changed;
        Some(())
    }

    fn abort(&self, state: &mut State, epoch: Epoch) -> Option<()> {
        let unburnt = self.bug == Some(Bug::AbortUnburnt);
        self.register(state, |entry| {
            let aborted = entry.abort(epoch)?;
            Ok(match unburnt {
                true => words::Entry::new(*aborted.owner(), aborted.epoch()),
                false => aborted,
            })
        })
    }

    fn fail_over(&self, state: &mut State, to: WorkerNo) -> Option<()> {
        let wrongly = state.deposes(to);
        state.suspicions += u8::from(wrongly);
        self.register(state, |entry| entry.fail_over(to))
    }

    fn deliver(&self, state: &mut State, message: Message) -> Option<()> {
        match message {
            Message::Map { to, entry } => self.hear_map(state, to, &entry),
            Message::News(edge, news) => self.hear_news(state, edge, news),
            Message::Report { from, epoch } => {
                self.register(state, |entry| entry.commit(&from, epoch))?;
            }
            Message::GaveUp { epoch } => self.abort(state, epoch)?,
            Message::Grant(grant) => self.take(state, &grant)?,
            Message::Taken { to, epoch } => {
                state.worker(to)?.holding.taken(epoch);
            }
            Message::Open(open) => self.admit(state, &open)?,
            Message::Answer { edge, op } => state.answered(edge, op),
            Message::Tail(tail) => self.end_tail(state, &tail)?,
            Message::DeleteTails { at, from } => self.delete_tails(state, at, from)?,
            Message::TailsDeleted { to } => {
                state.worker(to)?.remote = None;
            }
        }
        Some(())
    }
}

/// An epoch that a test names.
///
/// # Panics
/// For 0.
#[must_use]
pub fn epoch(number: u64) -> Epoch {
    Epoch::new(number).expect("epochs begin at 1")
}
