//! The client of the probes: one request at a time, no redirects, everything
//! bounded in time.

use std::cell::Cell;
use std::time::Duration;

use hexagram_mcp::header::names::{MCP_METHOD, MCP_PROTOCOL_VERSION};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::failure::Failure;
use super::incoming::Incoming;
use super::reply::{Outcome, Reply};

/// Of the time for everything, one answer may take this part.
const ANSWERS: u32 = 6;
/// Ending a session may take this long, also when the time is over.
const GOODBYE: Duration = Duration::from_secs(2);

/// That nobody takes the connection shows before an answer is late: the two are told apart. Of
/// the default time it leaves room for a first packet that is lost twice.
fn connecting(patience: Duration) -> Duration {
    patience * 3 / 4
}

/// A client of one endpoint.
pub(super) struct Client {
    http: reqwest::Client,
    pub(super) url: Url,
    patience: Duration,
    deadline: Instant,
    last_id: Cell<u64>,
}

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    method: Method,
    headers: HeaderMap,
    body: String,
}

impl Ask {
    /// A message, as every client sends it.
    pub(super) fn post(body: &(impl ToString + ?Sized)) -> Self {
        let ask = Self::new(Method::POST, body.to_string());
        ask.header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream")
    }

    /// A stream of what the server has to say.
    pub(super) fn get() -> Self {
        Self::new(Method::GET, String::new()).header(ACCEPT, "text/event-stream")
    }

    pub(super) fn delete() -> Self {
        Self::new(Method::DELETE, String::new())
    }

    fn new(method: Method, body: String) -> Self {
        Self {
            method,
            headers: HeaderMap::new(),
            body,
        }
    }

    pub(super) fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// With these headers over its own.
    pub(super) fn headers(mut self, headers: &HeaderMap) -> Self {
        self.headers.extend(headers.clone());
        self
    }

    /// With the headers of a modern message.
    pub(super) fn mirrored(self, version: &'static str, method: &'static str) -> Self {
        self.header(MCP_PROTOCOL_VERSION, version)
            .header(MCP_METHOD, method)
    }
}

impl Client {
    /// A client of `url` that sends `headers` with everything and stops asking
    /// when `time` is over.
    pub(super) fn new(url: Url, headers: HeaderMap, time: Duration) -> reqwest::Result<Self> {
        let patience = time / ANSWERS;
        let http = reqwest::Client::builder()
            .connect_timeout(connecting(patience))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("hexagram-check/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .build()?;
        Ok(Self {
            http,
            url,
            patience,
            deadline: Instant::now() + time,
            last_id: Cell::new(0),
        })
    }

    /// An id for a request, never used before.
    pub(super) fn new_id(&self) -> u64 {
        self.last_id.set(self.last_id.get() + 1);
        self.last_id.get()
    }

    /// Sends and gives the answer as far as it came: its head.
    pub(super) async fn open(&self, ask: Ask) -> Result<Incoming, Failure> {
        self.open_at(self.url.clone(), ask).await
    }

    /// The same at another URL of the same server.
    pub(super) async fn open_at(&self, url: Url, ask: Ask) -> Result<Incoming, Failure> {
        let now = Instant::now();
        if now >= self.deadline {
            return Err(Failure::OutOfTime);
        }
        let until = self.deadline.min(now + self.patience);
        self.exchange(url, ask, until).await
    }

    /// Sends request `id` and reads its answer.
    pub(super) async fn answer(&self, ask: Ask, id: u64) -> Outcome {
        Reply::read(self.open(ask).await?, id).await
    }

    /// Sends what is no request, or is none any more, and reads what comes.
    pub(super) async fn tell(&self, ask: Ask) -> Outcome {
        self.answer(ask, self.new_id()).await
    }

    /// Ends a session, also when the time is over.
    pub(super) async fn goodbye(&self, ask: Ask) -> Outcome {
        let until = Instant::now() + GOODBYE;
        let incoming = self.exchange(self.url.clone(), ask, until).await?;
        Reply::read(incoming, self.new_id()).await
    }

    async fn exchange(&self, url: Url, ask: Ask, until: Instant) -> Result<Incoming, Failure> {
        let patience = until.saturating_duration_since(Instant::now());
        let request = self
            .http
            .request(ask.method, url.clone())
            .headers(ask.headers)
            .body(ask.body);
        let response = timeout_at(until, request.send()).await;
        match response.map_err(|_| Failure::Silent(patience))? {
            Ok(response) => Ok(Incoming::new(response, patience, until)),
            Err(error) => Err(self.looked_into(&url, error.into(), patience).await),
        }
    }

    /// A connection is late also where TLS is not agreed on in time: that is no matter of the
    /// network if TCP alone is taken.
    async fn looked_into(&self, url: &Url, failure: Failure, patience: Duration) -> Failure {
        if failure == Failure::Ignored && self.is_taken(url).await {
            return Failure::Silent(patience);
        }
        failure
    }

    /// Whether somebody takes a connection, whatever is spoken on it.
    async fn is_taken(&self, url: &Url) -> bool {
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return false;
        };
        let until = self
            .deadline
            .min(Instant::now() + connecting(self.patience));
        let connect = TcpStream::connect((host.trim_matches(['[', ']']), port));
        matches!(timeout_at(until, connect).await, Ok(Ok(_)))
    }
}
