//! Clients of both eras under open-loop load: each sends at times that were set
//! beforehand, over all edges in turn, and what it sent late counts from when it was due.

use std::net::SocketAddr;
use std::time::Duration;

use hexagram_sim::history::{Asked, Exchange, Outcome};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use crate::cluster::Controlled;
use crate::cluster::http::{Ask, Http, Reply};
use crate::cluster::mcp::{self, LEGACY};
use crate::cluster::wait::DEADLINE;
use crate::size::Size;
use crate::talk::Talk;

/// "The worker was lost while it worked on this."
const UNKNOWN: i64 = -32012;
/// Ids of one client's messages; those below are others'.
const IDS: u64 = 1_000_000;

/// The running clients: the first are of the legacy era.
#[derive(Debug)]
pub(crate) struct Load {
    stop: CancellationToken,
    clients: JoinSet<()>,
}

impl Load {
    pub(crate) fn start(cluster: &Controlled, size: Size, talk: &Talk) -> Self {
        let peers: Vec<_> = cluster.edges.iter().map(|edge| edge.listen).collect();
        let (stop, mut clients) = (CancellationToken::new(), JoinSet::new());
        for number in 0..size.clients() {
            let client = Client {
                number,
                is_legacy: number < size.legacy,
                wires: peers.iter().map(|peer| Wire::new(*peer)).collect(),
                serial: 0,
                sessions: 0,
                session: None,
                ended: None,
                upstream: None,
                unsure: 0,
                talk: talk.clone(),
            };
            let first = Instant::now() + size.pace * number as u32 / size.clients() as u32;
            clients.spawn(client.run(first, size.pace, stop.clone()));
        }
        Self { stop, clients }
    }

    /// Ends the load.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.clients.join_all().await;
    }
}

/// A connection to one edge.
struct Wire {
    peer: SocketAddr,
    http: Option<(Http, Duration)>,
}

impl Wire {
    const fn new(peer: SocketAddr) -> Self {
        Self { peer, http: None }
    }

    /// Connected, and since when; `None` where nobody listens.
    async fn open(&mut self, talk: &Talk) -> Option<&mut (Http, Duration)> {
        if self.http.is_none() {
            let since = talk.now();
            let http = timeout(DEADLINE, Http::try_connect(self.peer)).await;
            self.http = Some((http.ok()?.ok()?, since));
        }
        self.http.as_mut()
    }
}

/// What is sent, and what it is.
struct Message {
    id: String,
    session: Option<u64>,
    asked: Asked,
    ask: Ask,
}

struct Client {
    number: usize,
    is_legacy: bool,
    wires: Vec<Wire>,
    serial: u64,
    sessions: u64,
    session: Option<String>,
    /// A session that was ended, and is to be asked once more.
    ended: Option<String>,
    /// The upstream session of a legacy client, and its calls there.
    upstream: Option<(String, u64)>,
    /// Calls that may have run, or may still run.
    unsure: u64,
    talk: Talk,
}

impl Client {
    async fn run(mut self, first: Instant, pace: Duration, stop: CancellationToken) {
        let mut due = interval_at(first, pace);
        due.set_missed_tick_behavior(MissedTickBehavior::Burst);
        while !stop.is_cancelled() {
            let due = due.tick().await;
            let message = self.next();
            self.send(due, message).await;
        }
    }

    fn next(&mut self) -> Message {
        self.serial += 1;
        if let Some(ended) = self.ended.take() {
            return self.call(Some(&ended));
        }
        match self.session.clone() {
            None if self.is_legacy => self.open(),
            None => self.call(None),
            Some(session) => self.talk_in(&session),
        }
    }

    /// Mostly calls; now and then a list, a log level, the session's end.
    fn talk_in(&self, session: &str) -> Message {
        match self.serial % 64 {
            5 | 21 | 37 | 53 => self.asks(session, Asked::Read, "tools/list", &json!({})),
            9 | 25 | 41 | 57 => self.level(session),
            63 => self.delete(session),
            _ => self.call(Some(session)),
        }
    }

    fn id(&self) -> u64 {
        (self.number as u64 + 1) * IDS + self.serial
    }

    fn open(&mut self) -> Message {
        self.sessions += 1;
        (self.upstream, self.unsure) = (None, 0);
        Message {
            // Its id on the wire is everybody's.
            id: format!("open {}", self.id()),
            session: Some(self.sessions),
            asked: Asked::Open,
            ask: mcp::initialize(),
        }
    }

    fn call(&self, session: Option<&str>) -> Message {
        let id = self.id();
        let params = mcp::call("count", &json!({ "id": id }));
        match session {
            Some(session) => self.asks(session, Asked::Call, "tools/call", &params),
            None => Message {
                id: id.to_string(),
                session: None,
                asked: Asked::Call,
                ask: mcp::modern(id, "tools/call", &params),
            },
        }
    }

    fn level(&self, session: &str) -> Message {
        let level = ["info", "warning", "error"][self.serial as usize / 16 % 3];
        let asked = Asked::SetLevel(level.to_owned());
        self.asks(
            session,
            asked,
            "logging/setLevel",
            &json!({ "level": level }),
        )
    }

    fn asks(&self, session: &str, asked: Asked, method: &str, params: &Value) -> Message {
        let id = self.id();
        Message {
            id: id.to_string(),
            session: Some(self.sessions),
            asked,
            ask: signed(Ask::post(mcp::request(id, method, params)), session),
        }
    }

    fn delete(&self, session: &str) -> Message {
        Message {
            id: self.id().to_string(),
            session: Some(self.sessions),
            asked: Asked::Delete,
            ask: signed(Ask::new("DELETE", "/mcp"), session),
        }
    }

    /// Sends it to an edge that listens, and writes down what came of it.
    async fn send(&mut self, due: Instant, message: Message) {
        let talk = self.talk.clone();
        let turn = self.number + usize::try_from(self.serial).unwrap();
        for step in 0..self.wires.len() {
            let edge = (turn + step) % self.wires.len();
            let Some((http, connected)) = self.wires[edge].open(&talk).await else {
                continue;
            };
            let connected = *connected;
            let reply = timeout(DEADLINE, http.try_send(&message.ask)).await;
            let ended = Some(talk.now());
            if !matches!(reply, Ok(Ok(_))) {
                self.wires[edge].http = None;
            }
            let outcome = match reply {
                Err(_) => Outcome::Silent,
                Ok(Err(_)) => Outcome::Broken,
                Ok(Ok(reply)) => self.judge(&message.asked, &reply),
            };
            self.follow(&message.asked, &outcome);
            talk.tell(Exchange {
                client: self.number,
                session: message.session,
                id: message.id,
                asked: message.asked,
                edge: format!("edge-{edge}"),
                connected,
                sent: talk.at(due),
                ended,
                outcome,
            });
            return;
        }
    }

    fn judge(&mut self, asked: &Asked, reply: &Reply) -> Outcome {
        if reply.status == 404 {
            return Outcome::Gone;
        }
        match (asked, reply.status) {
            (Asked::Delete, 200) => return Outcome::Answered(Vec::new()),
            (Asked::Open, 200) => self.session = reply.header("mcp-session-id").map(str::to_owned),
            _ => {}
        }
        let response = reply.response();
        match response["error"]["code"].as_i64() {
            Some(UNKNOWN) => Outcome::Unknown,
            Some(code) => Outcome::Refused(code),
            None if *asked == Asked::Call => self.counted(&response),
            None if response["result"].is_object() => Outcome::Answered(Vec::new()),
            None => Outcome::Forgot(response.to_string()),
        }
    }

    /// Whether a call is the next of its upstream session.
    fn counted(&mut self, response: &Value) -> Outcome {
        let text = response["result"]["content"][0]["text"].as_str();
        let counted = text.and_then(|text| {
            let (session, count) = text.split_once(' ')?;
            Some((session.to_owned(), count.parse::<u64>().ok()?))
        });
        let Some((session, count)) = counted else {
            return Outcome::Forgot(response.to_string());
        };
        if self.session.is_none() {
            return Outcome::Answered(Vec::new());
        }
        let before = self.upstream.replace((session.clone(), count));
        let Some((same, before)) = before else {
            return Outcome::Answered(Vec::new());
        };
        let between = count.checked_sub(before + 1);
        match between.filter(|between| same == session && *between <= self.unsure) {
            Some(between) => {
                self.unsure -= between;
                Outcome::Answered(Vec::new())
            }
            None => Outcome::Forgot(format!("{session} {count} after {same} {before}")),
        }
    }

    /// Does what a client does after this.
    fn follow(&mut self, asked: &Asked, outcome: &Outcome) {
        match (asked, outcome) {
            (Asked::Delete, Outcome::Answered(_)) => {
                self.ended = self.session.take();
            }
            (_, Outcome::Gone) => self.session = None,
            (Asked::Call, Outcome::Unknown | Outcome::Broken | Outcome::Silent) => {
                self.unsure += 1;
            }
            _ => {}
        }
    }
}

fn signed(ask: Ask, session: &str) -> Ask {
    ask.header("mcp-session-id", session)
        .header("mcp-protocol-version", LEGACY)
}
