//! What happened to a cluster under test, and whether its invariants held (DESIGN 10).
//!
//! ```text
//! clients -> Exchange  what each sent and saw      \
//! upstream -> Run      what ran, and for which call } History -> check -> Verdict
//! processes -> Event   steps of the protocol       /
//! ```
//!
//! The simulation (`cluster`) and the tests of processes write histories of the same
//! form. One without events is checked as far as its clients and upstream can tell:
//! I3, I10 and I12, and of I2 what clients see.
//!
//! What no history of this form tells: whether a change was applied twice by a worker
//! rather than by the upstream (I3), the order of messages that ask for no answer (I6),
//! and whether what runs on at an old owner belongs there, unless the upstream says for
//! whom it ran (I8).

mod check;
mod event;
mod exchange;

pub use check::{Counts, Invariant, Limits, Verdict, Violation, check};
pub use event::{Change, Deed, Event, Step, Told};
pub use exchange::{Asked, Exchange, Outcome, Run};

use std::time::Duration;

/// The host that all clients are on, as steps name it.
pub const CLIENTS: &str = "clients";
/// The store's host, as steps name it.
pub const STORE: &str = "store";

/// All that was seen. Times count from the beginning.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What clients sent, in the order in which they did.
    pub exchanges: Vec<Exchange>,
    /// What the upstream ran, in the order in which it did.
    pub runs: Vec<Run>,
    /// Steps of the protocol and faults, in the order in which they happened.
    pub events: Vec<Event>,
    /// Whether sessions are kept in a store that outlives workers.
    pub durable: bool,
    /// When the last fault was over; `None` where nobody knows.
    pub healed: Option<Duration>,
    /// When it ended.
    pub end: Duration,
}

/// When a client first was answered as it should be on something that it sent after
/// `since`.
#[must_use]
pub fn served(exchanges: &[Exchange], client: usize, since: Duration) -> Option<Duration> {
    let own = exchanges.iter().filter(|one| one.client == client);
    let late = own.filter(|one| one.sent > since);
    let answered = late.filter(|one| matches!(one.outcome, Outcome::Answered(_)));
    answered.filter_map(|one| one.ended).min()
}
