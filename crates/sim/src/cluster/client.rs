//! Clients: each does one thing after another, as its own chance decides, and writes
//! down what it sent and saw.

use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::draw::Draw;
use super::hosts::CLIENT_PORT;
use super::mcp::{self, Ask, Reply};
use super::net::{Http, connect};
use super::scenario::edge;
use super::stage::Here;
use super::upstream::TOOL;
use crate::history::{Asked, Exchange, Outcome};

/// An answer that does not come by then never does: a silent worker is given up in four
/// seconds, and its shards have an owner three later.
const PATIENCE: Duration = Duration::from_secs(12);
/// For a connection.
const CONNECT: Duration = Duration::from_secs(1);
/// Between two things that a client does.
const THINK: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));
/// The code of an error that says that a call may have run.
const UNKNOWN: i64 = -32012;
const LEVELS: [&str; 3] = ["info", "warning", "error"];
/// Longest work of a call, in ms.
const WORK: usize = 400;

/// One client.
pub(super) struct Client {
    here: Here,
    number: usize,
    is_legacy: bool,
    draw: Draw,
    edges: usize,
    edge: usize,
    http: Option<Http>,
    connected: Duration,
    sessions: u64,
    session: Option<Session>,
    /// A session that was ended, and is to be asked once more.
    ended: Option<Session>,
    serial: u64,
}

#[derive(Clone)]
struct Session {
    number: u64,
    id: String,
}

impl Client {
    pub(super) fn new(here: &Here, number: usize) -> Self {
        let scenario = here.stage.scenario();
        // Each has chances of its own, whatever the others do.
        let seed = scenario.seed.wrapping_add((number as u64 + 1) << 40);
        Self {
            here: here.clone(),
            number,
            is_legacy: number < scenario.legacy,
            draw: Draw::new(seed),
            edges: scenario.edges,
            edge: number % scenario.edges,
            http: None,
            connected: Duration::ZERO,
            sessions: 0,
            session: None,
            ended: None,
            serial: 0,
        }
    }

    /// Works until the scene is over.
    pub(super) async fn run(mut self) {
        while !self.here.stage.is_closing() {
            sleep(self.draw.between(THINK.0, THINK.1)).await;
            match self.is_legacy {
                true => self.legacy_turn().await,
                false => self.modern_turn().await,
            }
        }
    }

    async fn legacy_turn(&mut self) {
        let Some(session) = self.session.clone() else {
            return self.open().await;
        };
        if let Some(ended) = self.ended.take() {
            return self.call(Some(&ended)).await;
        }
        match self.draw.below(100) {
            0..65 => self.call(Some(&session)).await,
            65..85 => self.read(&session).await,
            85..95 => self.set_level(&session).await,
            _ => self.end(session).await,
        }
    }

    async fn modern_turn(&mut self) {
        if self.draw.chance(75) {
            return self.call(None).await;
        }
        let id = self.id();
        let ask = mcp::modern(&id, "tools/list", &json!({}));
        self.ask(None, id, Asked::Read, ask).await;
    }

    async fn open(&mut self) {
        let id = self.id();
        let session = Session {
            number: self.sessions + 1,
            id: String::new(),
        };
        let ask = mcp::legacy(None, &id, "initialize", &mcp::hello());
        let reply = self.ask(Some(&session), id, Asked::Open, ask).await;
        let Some(id) = reply.and_then(|reply| reply.session) else {
            return;
        };
        self.sessions += 1;
        self.session = Some(Session { id, ..session });
        self.tell("notifications/initialized").await;
    }

    async fn call(&mut self, session: Option<&Session>) {
        let id = self.id();
        let ms = match self.draw.chance(50) {
            true => 0,
            false => self.draw.below(WORK),
        };
        let params = json!({"name": TOOL, "arguments": {"id": id, "ms": ms}});
        let ask = match session {
            Some(session) => mcp::legacy(Some(&session.id), &id, "tools/call", &params),
            None => mcp::modern(&id, "tools/call", &params),
        };
        self.ask(session, id, Asked::Call, ask).await;
    }

    async fn read(&mut self, session: &Session) {
        let method = *self.draw.one(&["ping", "tools/list"]);
        let id = self.id();
        let ask = mcp::legacy(Some(&session.id), &id, method, &json!({}));
        self.ask(Some(session), id, Asked::Read, ask).await;
    }

    async fn set_level(&mut self, session: &Session) {
        let level = *self.draw.one(&LEVELS);
        let id = self.id();
        let params = json!({ "level": level });
        let ask = mcp::legacy(Some(&session.id), &id, "logging/setLevel", &params);
        let asked = Asked::SetLevel(level.to_owned());
        self.ask(Some(session), id, asked, ask).await;
    }

    async fn end(&mut self, session: Session) {
        let id = self.id();
        let ask = mcp::delete(&session.id);
        if self
            .ask(Some(&session), id, Asked::Delete, ask)
            .await
            .is_some()
        {
            self.session = None;
            self.ended = Some(session);
        }
    }

    /// Sends what is not answered.
    async fn tell(&mut self, method: &str) {
        if let Some(session) = &self.session {
            let ask = mcp::notification(&session.id, method);
            // Nothing depends on it.
            let _ = timeout(PATIENCE, self.exchange(ask)).await;
        }
    }

    fn id(&mut self) -> String {
        self.serial += 1;
        format!("c{}.{}", self.number, self.serial)
    }

    /// Sends a request and writes down what came of it; gives the answer if it did
    /// what it should.
    async fn ask(
        &mut self,
        session: Option<&Session>,
        id: String,
        asked: Asked,
        ask: Ask,
    ) -> Option<Reply> {
        self.connected().await?;
        let stage = self.here.stage.clone();
        let number = stage.sent(Exchange {
            client: self.number,
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
            Ok(Err(_)) => (Outcome::Broken, None),
            Ok(Ok(reply)) => (judge(&asked, &reply), Some(reply)),
        };
        if matches!(outcome, Outcome::Broken | Outcome::Silent) {
            self.leave();
        }
        if outcome == Outcome::Gone {
            let current = self.session.as_ref().map(|session| session.number);
            if session.map(|session| session.number) == current {
                self.session = None;
            }
        }
        stage.ended(number, |exchange| exchange.outcome = outcome.clone());
        reply.filter(|_| matches!(outcome, Outcome::Answered(_)))
    }

    async fn exchange(&mut self, ask: Ask) -> hyper::Result<Reply> {
        let Some(http) = &mut self.http else {
            unreachable!("it is connected")
        };
        let (head, body) = http.send(ask).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Reply::read(&head, &body))
    }

    /// Connects to an edge, unless it is connected.
    async fn connected(&mut self) -> Option<()> {
        if self.draw.chance(10) {
            self.leave();
        }
        if self.http.as_mut().is_some_and(|http| !http.is_open()) {
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
