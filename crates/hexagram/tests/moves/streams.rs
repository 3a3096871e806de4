//! Standing streams of both eras that are to go on, whatever happens.

use std::net::SocketAddr;

use serde_json::json;

use crate::cluster::Controlled;
use crate::cluster::listener::Listener;
use crate::cluster::mcp::{Session, modern};
use crate::counter::Counter;

/// Standing streams of each era.
const STREAMS: usize = 5;
/// Between two times that an upstream says the same.
const REPEAT: std::time::Duration = std::time::Duration::from_millis(200);

pub(crate) struct Streams {
    legacy: Vec<Listener>,
    modern: Vec<Listener>,
    _sessions: Vec<Session>,
}

impl Streams {
    pub(crate) async fn open(cluster: &Controlled) -> Self {
        let (mut legacy, mut modern, mut sessions) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..STREAMS {
            let peer = cluster.edges[number % cluster.edges.len()].listen;
            let mut session = Session::open(peer).await;
            legacy.push(Listener::listen(peer, &session, None).await);
            // Its upstream session is opened by its first call.
            session.call("count", &json!({})).await;
            sessions.push(session);
            modern.push(subscribe(peer).await);
        }
        Self {
            legacy,
            modern,
            _sessions: sessions,
        }
    }

    /// As [`Self::still_hear`], after a crash: what the upstream says before the new owner
    /// listens to it is lost, so it says it again.
    pub(crate) async fn hear_again(&mut self, counter: &Counter) {
        let repeat = async {
            loop {
                tokio::time::sleep(REPEAT).await;
                say(counter);
            }
        };
        tokio::select! {
            () = self.still_hear(counter) => {}
            () = repeat => {}
        }
    }

    /// Every stream still brings what the upstream says now.
    pub(crate) async fn still_hear(&mut self, counter: &Counter) {
        let params = word();
        say(counter);
        for stream in &mut self.legacy {
            while stream.message().await.message()["params"] != params {}
        }
        for stream in &mut self.modern {
            let message = stream.message().await.message();
            assert_eq!(message["method"], "notifications/tools/list_changed");
        }
    }
}

/// What the upstream says in its sessions.
fn word() -> serde_json::Value {
    json!({"level": "info", "data": "still there"})
}

fn say(counter: &Counter) {
    counter.say("notifications/message", &word());
    counter.say("notifications/tools/list_changed", &json!({}));
}

async fn subscribe(peer: SocketAddr) -> Listener {
    let filter = json!({"notifications": {"toolsListChanged": true}});
    let mut stream = Listener::open(peer, &modern(7, "subscriptions/listen", &filter)).await;
    stream.message().await;
    stream
}
