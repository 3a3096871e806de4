//! A client of one era before an upstream of some.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::cluster::http::{Ask, Http, Reply};
use crate::cluster::listener::{Listener, get};
use crate::cluster::mcp::{Session, call, modern};
use crate::fixture::{Change, Fixture, Spoken};

/// The era of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    Legacy,
    Modern,
}

/// A cell of the matrix.
pub(crate) struct Cell<'a> {
    pub(crate) era: Era,
    pub(crate) spoken: Spoken,
    pub(crate) cluster: &'a Cluster,
    pub(crate) fixture: &'a Fixture,
}

impl Cell<'_> {
    /// Whether client and upstream have no era in common.
    pub(crate) fn is_across(&self) -> bool {
        matches!(
            (self.era, self.spoken),
            (Era::Legacy, Spoken::Modern) | (Era::Modern, Spoken::Legacy)
        )
    }

    /// A client that can be asked for its model's answer.
    pub(crate) async fn client(&self) -> Client {
        let edges: Vec<_> = self.cluster.edges.iter().map(|edge| edge.listen).collect();
        Client::new(self.era, &edges).await
    }
}

/// A client that sends each request on a connection of its own, to the edges in turn.
#[derive(Debug)]
pub(crate) struct Client {
    edges: Vec<SocketAddr>,
    turn: AtomicUsize,
    next: u64,
    /// That of a legacy client.
    session: Option<Session>,
}

impl Client {
    pub(crate) async fn new(era: Era, edges: &[SocketAddr]) -> Self {
        let session = match era {
            Era::Legacy => Some(Session::open_able(edges[0], &json!({"sampling": {}})).await),
            Era::Modern => None,
        };
        Self {
            edges: edges.to_vec(),
            turn: AtomicUsize::new(1),
            next: 0,
            session,
        }
    }

    /// The edge whose turn it is.
    pub(crate) fn edge(&self) -> SocketAddr {
        self.edges[self.turn.fetch_add(1, Ordering::Relaxed) % self.edges.len()]
    }

    /// A request, and its id.
    pub(crate) fn prepare(&mut self, method: &str, params: &Value) -> (Ask, Value) {
        match &mut self.session {
            Some(session) => {
                let ask = session.prepare(method, params);
                (ask, session.last())
            }
            None => {
                self.next += 1;
                let mut params = params.clone();
                params["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
                    json!({"sampling": {}});
                (modern(self.next, method, &params), json!(self.next))
            }
        }
    }

    pub(crate) async fn ask(&mut self, method: &str, params: &Value) -> Reply {
        let (ask, _) = self.prepare(method, params);
        self.send(&ask).await
    }

    pub(crate) async fn call(&mut self, tool: &str) -> Reply {
        let params = call(tool, &json!({"message": "hello"}));
        self.ask("tools/call", &params).await
    }

    /// Starts a request whose reply is an event stream.
    pub(crate) async fn stream(&mut self, method: &str, params: &Value) -> (Listener, Value) {
        let (ask, id) = self.prepare(method, params);
        (Listener::open(self.edge(), &ask).await, id)
    }

    pub(crate) async fn send(&self, ask: &Ask) -> Reply {
        Http::connect(self.edge()).await.send(ask).await
    }

    /// A legacy client's message that is no request.
    pub(crate) async fn tell(&self, message: &Value) {
        let session = self.session.as_ref().unwrap();
        let reply = self
            .send(&session.signed(Ask::post(message.to_string())))
            .await;
        assert_eq!(reply.status, 202, "{reply:?}");
    }

    /// Listens for changes of tools and of this resource, each era in its way.
    pub(crate) async fn listen(&mut self, uri: &str) -> Listener {
        if self.session.is_some() {
            let subscribed = self.ask("resources/subscribe", &json!({"uri": uri})).await;
            assert_eq!(subscribed.response()["result"], json!({}));
            let session = self.session.as_ref().unwrap();
            return Listener::open(self.edge(), &get(session, None)).await;
        }
        let filter = json!({"toolsListChanged": true, "resourceSubscriptions": [uri]});
        let params = json!({"notifications": filter});
        let (mut stream, id) = self.stream("subscriptions/listen", &params).await;
        let first = stream.message().await.message();
        assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
        let params = &first["params"];
        assert_eq!(params["notifications"], filter, "{first}");
        assert_eq!(params["_meta"][SUBSCRIPTION_ID], id, "{first}");
        stream
    }
}

/// Says which subscription a message belongs to.
pub(crate) const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";

/// Announces `change` until the client hears `method`. Repeating does no harm:
/// changes are hints.
pub(crate) async fn heard(
    fixture: &Fixture,
    change: &Change,
    stream: &mut Listener,
    method: &str,
) -> Value {
    let announce = async {
        let mut pause = tokio::time::interval(std::time::Duration::from_millis(50));
        loop {
            pause.tick().await;
            fixture.announce(change.clone());
        }
    };
    let hear = async {
        loop {
            let message = stream.message().await.message();
            if message["method"] == method {
                return message;
            }
        }
    };
    tokio::select! {
        message = hear => message,
        () = announce => unreachable!("it never ends"),
    }
}
