//! One connection of a client after the other, and what is written down of what goes
//! over them.

use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time::timeout;

use super::draw::Draw;
use super::mcp::{Ask, Reply};
use super::net::{Http, connect};
use super::scenario::CLIENT_PORT;
use super::scenario::edge;
use super::stage::Here;
use crate::history::{Asked, Exchange, Outcome};

/// An answer that does not come by then never does: a silent worker is given up in
/// nine seconds, its link's grace included, and its shards have an owner by then.
pub(super) const PATIENCE: Duration = Duration::from_secs(12);
/// For a connection.
const CONNECT: Duration = Duration::from_secs(1);
/// The code of an error that says that a call may have run.
const UNKNOWN: i64 = -32012;
/// The code of an error that says that the session is over.
const OVER: i64 = -32001;

/// A client's session.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) number: u64,
    pub(super) id: String,
}

/// A message that asks for an answer.
pub(super) struct Question {
    pub(super) session: Option<Session>,
    pub(super) id: String,
    pub(super) asked: Asked,
    pub(super) ask: Ask,
}

/// Who sends a client's messages, one at a time.
pub(super) struct Speaker {
    here: Here,
    client: usize,
    draw: Draw,
    edges: usize,
    edge: usize,
    http: Option<Http>,
    connected: Duration,
}

impl Speaker {
    pub(super) fn new(here: &Here, client: usize, seed: u64) -> Self {
        let edges = here.stage.scenario().edges;
        Self {
            here: here.clone(),
            client,
            draw: Draw::new(seed),
            edges,
            edge: client % edges,
            http: None,
            connected: Duration::ZERO,
        }
    }

    /// Sends a message and writes down what came of it; gives that, and the answer
    /// where there is one. `None` where there is nobody to send it to.
    pub(super) async fn ask(&mut self, question: Question) -> Option<(Outcome, Option<Reply>)> {
        self.connect().await?;
        let stage = self.here.stage.clone();
        let Question {
            session,
            id,
            asked,
            ask,
        } = question;
        let number = stage.sent(Exchange {
            client: self.client,
            session: session.map(|session| session.number),
            id,
            asked: asked.clone(),
            edge: edge(self.edge),
            connected: self.connected,
            sent: stage.now(),
            ended: None,
            outcome: Outcome::Silent,
        });
        let heard = timeout(PATIENCE, self.exchange(ask)).await;
        let (outcome, reply) = match heard {
            Err(_) => (Outcome::Silent, None),
            Ok(None) => (Outcome::Broken, None),
            Ok(Some(reply)) => (judge(&asked, &reply), Some(reply)),
        };
        if matches!(outcome, Outcome::Broken | Outcome::Silent) {
            self.leave();
        }
        stage.ended(number, |exchange| exchange.outcome = outcome.clone());
        Some((outcome, reply))
    }

    /// Sends what is not answered; nothing depends on it.
    pub(super) async fn tell(&mut self, ask: Ask) {
        if self.connect().await.is_some() && timeout(PATIENCE, self.exchange(ask)).await.is_err() {
            self.leave();
        }
    }

    async fn exchange(&mut self, ask: Ask) -> Option<Reply> {
        let http = self.http.as_mut()?;
        let (head, body) = http.send(ask).await.ok()?.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        Some(Reply::read(&head, &body))
    }

    /// Connects to an edge, unless it is connected.
    async fn connect(&mut self) -> Option<()> {
        if self.draw.chance(10) {
            self.leave();
        }
        if self.http.as_ref().is_some_and(|http| !http.is_open()) {
            self.http = None;
        }
        if self.http.is_none() {
            let edge = edge(self.edge);
            let connected = async {
                let wire = connect(&self.here, &edge, CLIENT_PORT).await.ok()?;
                Http::over(wire).await.ok()
            };
            self.connected = self.here.stage.now();
            self.http = timeout(CONNECT, connected).await.ok().flatten();
        }
        if self.http.is_none() {
            self.leave();
            return None;
        }
        Some(())
    }

    /// Goes to another edge the next time.
    fn leave(&mut self) {
        self.http = None;
        self.edge = (self.edge + 1) % self.edges;
    }
}

/// What became of a message that was answered like this.
fn judge(asked: &Asked, reply: &Reply) -> Outcome {
    if reply.status == 404 {
        return Outcome::Gone;
    }
    if *asked == Asked::Delete && reply.status == 200 {
        return Outcome::Answered(Vec::new());
    }
    let Some(response) = reply.response() else {
        return Outcome::Broken;
    };
    match response["error"]["code"].as_i64() {
        Some(UNKNOWN) => Outcome::Unknown,
        Some(OVER) => Outcome::Gone,
        Some(code) => Outcome::Refused(code),
        None if is_due(asked, response) => Outcome::Answered(reply.levels()),
        None => Outcome::Forgot(response.to_string()),
    }
}

/// Whether it is the answer to what was asked.
fn is_due(asked: &Asked, response: &Value) -> bool {
    match asked {
        Asked::Call => response["result"]["content"][0]["text"] == response["id"],
        _ => response["result"].is_object(),
    }
}
