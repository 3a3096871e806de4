//! What clients sent and saw, and what the upstream ran.

use std::fmt;
use std::time::Duration;

/// One message of a client that asks for an answer, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// Who sent it.
    pub client: usize,
    /// Which of the client's sessions it belongs to; none in the modern era.
    pub session: Option<u64>,
    /// Its id, which no other exchange of the history has.
    pub id: String,
    /// What it asks for.
    pub asked: Asked,
    /// The edge that it was sent to.
    pub edge: String,
    /// When its connection was made.
    pub connected: Duration,
    /// When it was sent.
    pub sent: Duration,
    /// When it ended, however it did; `None` while it had not at the history's end.
    pub ended: Option<Duration>,
    /// How it ended.
    pub outcome: Outcome,
}

/// What a message asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// `initialize`.
    Open,
    /// A call of a tool that must not run twice.
    Call,
    /// Something that may run any number of times.
    Read,
    /// A log level for the session.
    SetLevel(String),
    /// The end of the session.
    Delete,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it should. Of a call: the levels of the log messages that came
    /// before the answer.
    Answered(Vec<String>),
    /// It was refused with this JSON-RPC code, and has not run.
    Refused(i64),
    /// An error says that it may have run.
    Unknown,
    /// The session is not known.
    Gone,
    /// The answer contradicts an earlier one: the session forgot something.
    Forgot(String),
    /// The connection ended without an answer.
    Broken,
    /// Nothing came in the time that the client had.
    Silent,
}

/// The upstream ran something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The call's [`Exchange::id`].
    pub id: String,
    /// When it began.
    pub at: Duration,
    /// Who had it run, as `name#life`; empty where that is not known.
    pub by: String,
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id, asked, edge, ..
        } = self;
        let (sent, ended) = (self.sent.as_secs_f64(), self.ended.unwrap_or_default());
        let session = self
            .session
            .map_or_else(|| "-".to_owned(), |number| number.to_string());
        write!(
            f,
            "{:10.6} {id} session {session} {asked:?} at {edge} since {sent:.6}: {:?}",
            ended.as_secs_f64(),
            self.outcome
        )
    }
}
