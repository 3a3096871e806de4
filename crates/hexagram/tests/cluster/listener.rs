//! A client's side of an event stream, read event by event.

use std::net::SocketAddr;

use serde_json::Value;

use super::http::{Ask, Http};
use super::mcp::Session;
use super::wait;

/// One event; comments are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) retry: Option<u64>,
    pub(crate) data: String,
}

impl Event {
    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let mut lines = text.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            Some(value.trim().to_owned())
        };
        let data = field("data");
        let event = Self {
            id: field("id"),
            retry: field("retry").map(|retry| retry.parse().unwrap()),
            data: data?,
        };
        Some(event)
    }

    /// Its JSON-RPC message.
    pub(crate) fn message(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// What the notification in it says.
    pub(crate) fn said(&self) -> String {
        let message = self.message();
        let said = message["params"]["data"].as_str();
        said.unwrap_or_else(|| panic!("no notification: {message}"))
            .to_owned()
    }

    /// The text of the tool's result in it.
    pub(crate) fn text(&self) -> String {
        let message = self.message();
        let text = message["result"]["content"][0]["text"].as_str();
        text.unwrap_or_else(|| panic!("no result: {message}"))
            .to_owned()
    }

    pub(crate) fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_else(|| panic!("{self:?}"))
    }
}

/// An open event stream. Dropped, its connection is lost.
#[derive(Debug)]
pub(crate) struct Listener {
    http: Http,
    unread: String,
}

impl Listener {
    /// Asks on a connection of its own.
    pub(crate) async fn open(peer: SocketAddr, ask: &Ask) -> Self {
        let mut http = Http::connect(peer).await;
        http.start(ask).await;
        let head = wait::within("the stream's head", http.head())
            .await
            .unwrap();
        assert_eq!(head.status, 200, "{head:?}");
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        Self {
            http,
            unread: String::new(),
        }
    }

    /// The session's standing stream, behind this event if there is one.
    pub(crate) async fn listen(peer: SocketAddr, session: &Session, after: Option<&str>) -> Self {
        Self::open(peer, &get(session, after)).await
    }

    /// The next event; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        wait::within("the next event", self.try_next()).await
    }

    async fn try_next(&mut self) -> Option<Event> {
        loop {
            while let Some((event, rest)) = self.unread.split_once("\n\n") {
                let event = Event::parse(event);
                self.unread = rest.to_owned();
                if event.is_some() {
                    return event;
                }
            }
            let piece = self.http.chunk().await.ok()??;
            self.unread += std::str::from_utf8(&piece).unwrap();
        }
    }

    /// The next event that carries a message.
    pub(crate) async fn message(&mut self) -> Event {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if !event.data.is_empty() {
                return event;
            }
        }
    }

    /// Closes the client's side of the connection.
    pub(crate) async fn shut(&mut self) {
        self.http.shut().await;
    }

    /// Waits until the server closes the connection.
    pub(crate) async fn closed(&mut self) {
        self.http.closed().await;
    }

    /// What comes until the stream ends.
    pub(crate) async fn rest(&mut self) -> Vec<Event> {
        let mut all = Vec::new();
        while let Some(event) = self.next().await {
            all.push(event);
        }
        all
    }
}

/// A GET of the session's stream.
pub(crate) fn get(session: &Session, after: Option<&str>) -> Ask {
    let ask = session.signed(Ask::get("/mcp").header("accept", "text/event-stream"));
    match after {
        Some(id) => ask.header("last-event-id", id),
        None => ask,
    }
}
