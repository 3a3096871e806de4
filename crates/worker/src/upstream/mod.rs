//! Upstreams: the MCP servers behind Hexagram, and one session with each.

mod command;
mod duplex;
mod handler;
mod http;
mod native;
mod spec;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use hexagram_core::{Capabilities, Era, ProtocolVersion};
use hexagram_mcp::client::capabilities_json;
use hexagram_mcp::envelope::scan;
use hexagram_mcp::error::Problem;
use parking_lot::Mutex;
use serde_json::{Value, json};

pub use handler::{HandlerFactory, Pipe, handler};
pub use native::{NativeHandler, NativeRequest};
pub use spec::{UpstreamName, UpstreamSpec, UpstreamTarget};

use crate::session::ClientFacts;
use duplex::Duplex;
use http::HttpConnection;

/// Messages that come back from an upstream. Ends after a request's response.
pub(crate) type Incoming = BoxStream<'static, Result<Bytes, UpstreamError>>;

/// Limits of the conversation with an upstream.
#[derive(Debug, Clone, Copy)]
pub struct UpstreamLimits {
    /// For the TCP and TLS handshake.
    pub connect: Duration,
    /// For the first and each further sign of life of a request.
    pub silence: Duration,
    /// Longest message accepted from an upstream, in bytes.
    pub max_message: usize,
}

/// Why an upstream could not be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UpstreamError {
    /// It cannot be reached or started.
    #[error("{0}")]
    Unreachable(String),
    /// It does not know our session any more (HTTP 404).
    #[error("the upstream has forgotten its session")]
    SessionGone,
    /// It broke off after it had the request: the outcome is unknown.
    #[error("{0}")]
    Broken(String),
    /// It answered an HTTP error.
    #[error("the upstream answered HTTP {status}: {detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The beginning of the body.
        detail: String,
    },
    /// It answered an HTTP error whose body is a JSON-RPC response.
    #[error("the upstream refused the message")]
    Answered(Bytes),
    /// It answered what is not MCP.
    #[error("the upstream answered what is not MCP: {0}")]
    Garbage(String),
    /// It sent nothing for too long.
    #[error("the upstream sent nothing for {} s", .0.as_secs())]
    Silent(Duration),
    /// Too many children run already.
    #[error("{0} stdio children run already; raise --max-children or use an HTTP upstream")]
    TooManyChildren(usize),
}

impl UpstreamError {
    /// The error a client sees. `had_request` says whether the upstream may
    /// have begun to act.
    pub(crate) fn problem(&self, upstream: &str, had_request: bool) -> Problem {
        let detail = self.to_string();
        match self {
            Self::Broken(_) | Self::Silent(_) if had_request => Problem::OutcomeUnknown {
                detail: format!("upstream {upstream}: {detail}"),
            },
            _ => Problem::UpstreamUnavailable {
                upstream: upstream.to_owned(),
                detail,
            },
        }
    }
}

/// What an upstream says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerInfo {
    /// Its `ServerCapabilities` object.
    pub capabilities: Value,
    /// Its `Implementation` object: name and version.
    pub server_info: Value,
    /// Hints for the model.
    pub instructions: Option<String>,
}

impl ServerInfo {
    fn from_initialize(result: &Value) -> Self {
        Self {
            capabilities: result["capabilities"].clone(),
            server_info: result["serverInfo"].clone(),
            instructions: result["instructions"].as_str().map(str::to_owned),
        }
    }
}

enum Kind {
    Http(http::Target),
    Command(command::Launcher),
    Handler(Arc<dyn HandlerFactory>),
    Native(Arc<dyn NativeHandler>),
}

/// One MCP server behind Hexagram.
pub struct Upstream {
    name: UpstreamName,
    kind: Kind,
    info: Mutex<Option<Arc<ServerInfo>>>,
    probing: tokio::sync::Mutex<()>,
}

impl Upstream {
    /// An upstream as the command line describes it.
    ///
    /// # Errors
    /// The reason, when its HTTP client cannot be made.
    pub fn from_spec(
        spec: UpstreamSpec,
        limits: UpstreamLimits,
        children: &ChildLimit,
    ) -> Result<Self, UpstreamError> {
        let kind = match spec.target {
            UpstreamTarget::Url(url) => Kind::Http(http::Target::new(url, limits)?),
            UpstreamTarget::Command(line) => {
                Kind::Command(command::Launcher::new(line, limits, children.clone()))
            }
        };
        Ok(Self::new(spec.name, kind))
    }

    /// Any rmcp `ServerHandler`, made anew by `factory` for each client session.
    pub fn from_handler(name: UpstreamName, factory: Arc<dyn HandlerFactory>) -> Self {
        Self::new(name, Kind::Handler(factory))
    }

    /// A handler that answers at once, on the raw message.
    pub fn from_native(name: UpstreamName, handler: Arc<dyn NativeHandler>) -> Self {
        Self::new(name, Kind::Native(handler))
    }

    fn new(name: UpstreamName, kind: Kind) -> Self {
        Self {
            name,
            kind,
            info: Mutex::default(),
            probing: tokio::sync::Mutex::default(),
        }
    }

    /// Its name: the prefix of its tools.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    pub(crate) fn native(&self) -> Option<&Arc<dyn NativeHandler>> {
        match &self.kind {
            Kind::Native(handler) => Some(handler),
            _ => None,
        }
    }

    /// Whether modern requests reach it without a session.
    pub(crate) fn is_stateless_in(&self, era: Era) -> bool {
        matches!(self.kind, Kind::Handler(_)) && era == Era::Modern
    }

    /// Opens a session of this client's own.
    pub(crate) async fn open(&self, facts: &ClientFacts) -> Result<Connection, UpstreamError> {
        let connection = match &self.kind {
            Kind::Http(target) => Connection::Http(HttpConnection::new(target.clone())),
            Kind::Command(launcher) => Connection::Duplex(launcher.launch()?),
            Kind::Handler(factory) => {
                return Ok(Connection::Duplex(handler::connect(
                    factory.as_ref(),
                    facts,
                )));
            }
            Kind::Native(_) => {
                return Err(UpstreamError::Garbage(
                    "a native handler has no sessions".to_owned(),
                ));
            }
        };
        let result = connection.initialize(facts).await?;
        *self.info.lock() = Some(Arc::new(ServerInfo::from_initialize(&result)));
        Ok(connection)
    }

    /// A fresh handler for one modern request, which needs no session.
    pub(crate) fn open_stateless(&self, facts: &ClientFacts) -> Result<Connection, UpstreamError> {
        match &self.kind {
            Kind::Handler(factory) => Ok(Connection::Duplex(handler::connect(
                factory.as_ref(),
                facts,
            ))),
            _ => Err(UpstreamError::Garbage("it needs a session".to_owned())),
        }
    }

    /// What it says of itself: as of its last session, else asked now.
    ///
    /// # Errors
    /// Why it cannot be asked.
    pub async fn info(&self) -> Result<Arc<ServerInfo>, UpstreamError> {
        if let Some(info) = self.known_info() {
            return Ok(info);
        }
        let _one_at_a_time = self.probing.lock().await;
        if let Some(info) = self.known_info() {
            return Ok(info);
        }
        let probe = self.open(&probe_facts()).await?;
        probe.close().await;
        self.known_info()
            .ok_or_else(|| UpstreamError::Garbage("it did not describe itself".to_owned()))
    }

    pub(crate) fn known_info(&self) -> Option<Arc<ServerInfo>> {
        match &self.kind {
            Kind::Native(handler) => Some(Arc::new(handler.info())),
            Kind::Handler(factory) => Some(Arc::new(factory.info())),
            _ => self.info.lock().clone(),
        }
    }
}

/// A client that can everything, so that the upstream shows all it has.
fn probe_facts() -> ClientFacts {
    ClientFacts {
        version: ProtocolVersion::LATEST_LEGACY,
        capabilities: Capabilities::all(),
        name: "hexagram".to_owned(),
        software_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// How many stdio children may run in this process.
#[derive(Debug, Clone)]
pub struct ChildLimit {
    permits: Arc<tokio::sync::Semaphore>,
    limit: usize,
}

impl ChildLimit {
    /// At most `limit` children.
    pub fn new(limit: usize) -> Self {
        Self {
            permits: Arc::new(tokio::sync::Semaphore::new(limit)),
            limit,
        }
    }

    fn acquire(&self) -> Result<tokio::sync::OwnedSemaphorePermit, UpstreamError> {
        Arc::clone(&self.permits)
            .try_acquire_owned()
            .map_err(|_| UpstreamError::TooManyChildren(self.limit))
    }
}

/// One client's session with an upstream.
#[derive(Debug)]
pub(crate) enum Connection {
    Http(HttpConnection),
    Duplex(Duplex),
}

impl Connection {
    /// Sends a request whose id is `id`; gives what comes back for it, its
    /// response last.
    pub(crate) async fn request(&self, id: &str, body: Bytes) -> Result<Incoming, UpstreamError> {
        match self {
            Self::Http(http) => http.request(body).await,
            Self::Duplex(duplex) => duplex.request(id, body).await,
        }
    }

    /// Sends a request and waits for its response alone.
    pub(crate) async fn ask(&self, id: &str, body: Bytes) -> Result<Bytes, UpstreamError> {
        let mut incoming = self.request(id, body).await?;
        while let Some(message) = incoming.next().await {
            let message = message?;
            let answers = scan(&message).is_ok_and(|envelope| envelope.kind.is_response());
            if answers {
                return Ok(message);
            }
        }
        Err(UpstreamError::Broken(
            "it closed without a response".to_owned(),
        ))
    }

    /// Sends a notification or a response.
    pub(crate) async fn send(&self, body: Bytes) -> Result<(), UpstreamError> {
        match self {
            Self::Http(http) => http.send(body).await,
            Self::Duplex(duplex) => duplex.send(body).await,
        }
    }

    /// Messages that belong to no request.
    pub(crate) async fn standing(&self) -> Result<Incoming, UpstreamError> {
        match self {
            Self::Http(http) => http.standing().await,
            Self::Duplex(duplex) => Ok(duplex.standing()),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Http(_) => true,
            Self::Duplex(duplex) => duplex.is_open(),
        }
    }

    /// Ends the session at the upstream.
    pub(crate) async fn close(&self) {
        match self {
            Self::Http(http) => http.close().await,
            Self::Duplex(duplex) => duplex.close(),
        }
    }

    async fn initialize(&self, facts: &ClientFacts) -> Result<Value, UpstreamError> {
        let response = self.ask("\"0\"", initialize_request(facts)).await?;
        let response: Value = serde_json::from_slice(&response)
            .map_err(|error| UpstreamError::Garbage(error.to_string()))?;
        let result = &response["result"];
        if !result.is_object() {
            let message = response["error"]["message"].as_str().unwrap_or("no result");
            return Err(UpstreamError::Garbage(format!("initialize: {message}")));
        }
        if let Self::Http(http) = self {
            http.negotiated(result["protocolVersion"].as_str());
        }
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        self.send(Bytes::from(initialized.to_string())).await?;
        Ok(result.clone())
    }
}

fn initialize_request(facts: &ClientFacts) -> Bytes {
    let request = json!({
        "jsonrpc": "2.0",
        "id": "0",
        "method": "initialize",
        "params": {
            "protocolVersion": facts.version.as_str(),
            "capabilities": capabilities_json(facts.capabilities),
            "clientInfo": {"name": facts.name, "version": facts.software_version},
        },
    });
    Bytes::from(request.to_string())
}
