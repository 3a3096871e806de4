//! Clients of both eras that call in a loop, over both edges in turn.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::cluster::http::{Ask, Http, Reply};
use crate::cluster::mcp::{self, Session};
use crate::cluster::wait::DEADLINE;
use crate::cluster::{Controlled, Server};

pub(crate) const LEGACY: usize = 40;
pub(crate) const MODERN: usize = 20;
/// Between two calls of one client: the machine is to be busy, not full.
const PACE: Duration = Duration::from_millis(100);

/// Why a call did not do what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The session is unknown, so it was begun anew.
    Gone,
    /// JSON-RPC's error of this code.
    Error(i64, String),
    /// Answered in another upstream session, or after another count.
    Forgot(String),
    /// Any other answer, or none.
    Lost(String),
}

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) client: usize,
    pub(crate) sent: Instant,
    pub(crate) ended: Instant,
    pub(crate) outcome: Result<(), Failure>,
}

/// When each client sent the last call that was answered as it should be.
type Answered = Arc<Mutex<BTreeMap<usize, Instant>>>;

/// The running clients: the first [`LEGACY`] are of the legacy era.
#[derive(Debug)]
pub(crate) struct Load {
    stop: CancellationToken,
    clients: JoinSet<Vec<Call>>,
    answered: Answered,
    /// The worker that minted the session of each legacy client.
    pub(crate) owners: Vec<usize>,
}

impl Load {
    pub(crate) async fn start(cluster: &Controlled) -> Self {
        let peers: Vec<_> = cluster.edges.iter().map(|edge| edge.listen).collect();
        let (stop, mut clients) = (CancellationToken::new(), JoinSet::new());
        let (mut owners, answered) = (Vec::new(), Answered::default());
        for number in 0..LEGACY {
            let before = minted(&cluster.workers).await;
            let session = Session::open(peers[number % peers.len()]).await;
            let after = minted(&cluster.workers).await;
            let owner = before.iter().zip(&after).position(|(old, new)| old != new);
            owners.push(owner.unwrap());
            let client = Client::new(number, Some(session), &peers).await;
            clients.spawn(client.run(stop.clone(), Arc::clone(&answered)));
        }
        for number in LEGACY..LEGACY + MODERN {
            let client = Client::new(number, None, &peers).await;
            clients.spawn(client.run(stop.clone(), Arc::clone(&answered)));
        }
        Self {
            stop,
            clients,
            answered,
            owners,
        }
    }

    /// How many clients sent a call after `event` that was answered.
    pub(crate) fn served_since(&self, event: Instant) -> usize {
        let answered = self.answered.lock();
        answered.values().filter(|sent| **sent > event).count()
    }

    /// Ends the load; gives all calls.
    pub(crate) async fn end(self) -> Vec<Call> {
        self.stop.cancel();
        self.clients
            .join_all()
            .await
            .into_iter()
            .flatten()
            .collect()
    }
}

/// How many sessions each worker has minted; 0 while it does not run.
async fn minted(workers: &[Server]) -> Vec<u64> {
    let mut all = Vec::new();
    for worker in workers {
        all.push(worker.metric("hexagram_worker_sessions_total").await);
    }
    all
}

struct Client {
    number: usize,
    session: Option<Session>,
    peers: Vec<SocketAddr>,
    connections: Vec<Http>,
    /// The upstream session of a legacy client, and its calls there; whether the last
    /// one was counted may be unknown.
    upstream: Option<(String, Option<u64>)>,
    calls: Vec<Call>,
}

impl Client {
    async fn new(number: usize, session: Option<Session>, peers: &[SocketAddr]) -> Self {
        let mut connections = Vec::new();
        for peer in peers {
            connections.push(Http::connect(*peer).await);
        }
        Self {
            number,
            session,
            peers: peers.to_vec(),
            connections,
            upstream: None,
            calls: Vec::new(),
        }
    }

    async fn run(mut self, stop: CancellationToken, answered: Answered) -> Vec<Call> {
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            pace.tick().await;
            let edge = (self.number + self.calls.len()) % self.connections.len();
            if let Some(sent) = self.call(edge).await {
                answered.lock().insert(self.number, sent);
            }
        }
        self.calls
    }

    /// Makes a call; gives when, if it was answered as it should be.
    async fn call(&mut self, edge: usize) -> Option<Instant> {
        let ask = self.prepare();
        let sent = Instant::now();
        let reply = timeout(DEADLINE, self.connections[edge].try_send(&ask)).await;
        let ended = Instant::now();
        let outcome = match reply {
            Err(_) => Err(Failure::Lost("no answer in time".to_owned())),
            Ok(Err(error)) => Err(Failure::Lost(error.to_string())),
            Ok(Ok(reply)) => self.judge(&reply),
        };
        self.recover(edge, outcome.as_ref().err()).await;
        let answered = outcome.is_ok().then_some(sent);
        self.calls.push(Call {
            client: self.number,
            sent,
            ended,
            outcome,
        });
        answered
    }

    fn prepare(&mut self) -> Ask {
        let params = mcp::call("count", &json!({}));
        match &mut self.session {
            Some(session) => session.prepare("tools/call", &params),
            None => mcp::modern(self.calls.len() as u64 + 1, "tools/call", &params),
        }
    }

    /// Whether it is the answer; a legacy session goes on where it was.
    fn judge(&mut self, reply: &Reply) -> Result<(), Failure> {
        if reply.status == 404 {
            return Err(Failure::Gone);
        }
        if reply.status != 200 {
            return Err(Failure::Lost(format!("{reply:?}")));
        }
        let response = reply.response();
        if let Some(code) = response["error"]["code"].as_i64() {
            return Err(Failure::Error(code, response["error"].to_string()));
        }
        let text = response["result"]["content"][0]["text"].as_str();
        let counted = text.and_then(|text| {
            let (session, count) = text.split_once(' ')?;
            Some((session.to_owned(), count.parse::<u64>().ok()?))
        });
        let counted = counted.ok_or_else(|| Failure::Lost(format!("{reply:?}")))?;
        self.follows(counted)
    }

    fn follows(&mut self, now: (String, u64)) -> Result<(), Failure> {
        if self.session.is_none() {
            return Ok(());
        }
        let expected = match self.upstream.take() {
            Some((session, count)) => (session, count.map(|count| count + 1)),
            None => (now.0.clone(), Some(1)),
        };
        let forgot = format!("{now:?} for {expected:?}");
        let same = now.0 == expected.0 && expected.1.is_none_or(|count| count == now.1);
        self.upstream = Some((now.0, Some(now.1)));
        same.then_some(()).ok_or(Failure::Forgot(forgot))
    }

    /// Does what a client does after such a failure.
    async fn recover(&mut self, edge: usize, failure: Option<&Failure>) {
        match failure {
            Some(Failure::Gone) if self.session.is_some() => {
                self.session = Some(Session::open(self.peers[edge]).await);
                self.upstream = None;
            }
            Some(Failure::Lost(_)) => {
                self.connections[edge] = Http::connect(self.peers[edge]).await;
            }
            Some(Failure::Error(..)) => {
                let upstream = self.upstream.take();
                self.upstream = upstream.map(|(session, _)| (session, None));
            }
            _ => {}
        }
    }
}
