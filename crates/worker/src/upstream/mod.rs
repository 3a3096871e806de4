//! Upstreams: the MCP servers behind Hexagram, and one session with each.

mod carry_over;
mod children;
mod close_stream;
mod command;
mod connection;
mod doubt;
mod duplex;
mod era;
mod error;
mod export;
mod handler;
mod health;
mod http;
mod life;
mod listed_tools;
mod lists;
mod mirrored;
mod native;
pub(crate) mod pages;
mod probe;
pub(crate) mod requests;
mod restarts;
mod retry;
mod tasks_offer;
mod told_era;
mod tools;
pub(crate) mod unread;
mod without_tasks;

#[cfg(test)]
mod tests;

/// A server that says what a test wants, for tests of what uses upstreams.
#[cfg(test)]
pub(crate) mod fake {
    pub(crate) use super::http::tests::{Request, Server, reply};
    pub(crate) use super::tests::{
        greeting, introduce, soon, turn_legacy, upstream, upstream_called,
    };
}

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ::http::HeaderMap;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use hexagram_core::Era;
use hexagram_mcp::envelope::Envelope;
use hexagram_mcp::header::HeaderError;
use hexagram_upstreams::{EraSetting, Retry, UpstreamName, UpstreamSpec, UpstreamTarget};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

pub use carry_over::carry_over;
pub use children::ChildLimit;
pub use close_stream::close_stream;
pub(crate) use close_stream::{BEGIN_STREAM, CLOSE_STREAM};
pub(crate) use connection::Connection;
pub use error::UpstreamError;
pub use export::Export;
pub use handler::{
    HandlerFactory, Pipe, Portable, handler, handler_without_tasks, portable_handler,
};
pub use health::{LastError, ToolCount, UpstreamHealth};
pub(crate) use life::UpstreamId;
pub(crate) use listed_tools::Asker;
pub use native::{NativeHandler, NativeRequest};
pub(crate) use retry::declares;

use crate::facts::ClientFacts;
use crate::list_cache::{LIMITS, ListCache};
use crate::raw::error_code;
use doubt::Doubt;
use era::Spoken;
use health::Health;
pub(crate) use http::Carried;
use http::HttpConnection;
use life::Life;
use probe::Failure;
use told_era::in_told_era;
use tools::Tools;

/// "This protocol version is not spoken here."
const UNSUPPORTED_VERSION: i64 = -32022;

/// Messages that come back from an upstream. Ends after a request's response.
pub(crate) type Incoming = BoxStream<'static, Result<Bytes, UpstreamError>>;

/// Limits of the conversation with an upstream.
#[derive(Debug, Clone, Copy)]
pub struct UpstreamLimits {
    /// For the TCP and TLS handshake.
    pub connect: Duration,
    /// For all it takes to open a session: connecting or starting, and
    /// `initialize`.
    pub handshake: Duration,
    /// For the first and each further sign of life of a request.
    pub silence: Duration,
    /// Longest message accepted from an upstream, in bytes.
    pub max_message: usize,
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
            server_info: named(&result["serverInfo"]),
            instructions: result["instructions"].as_str().map(str::to_owned),
        }
    }

    /// The capabilities that a client of `era` can use.
    pub(crate) fn capabilities_for(&self, era: Era) -> Value {
        tasks_offer::for_clients_of(era, &self.capabilities)
    }
}

/// Clients require an `Implementation` where a modern server need not give one.
fn named(server_info: &Value) -> Value {
    match server_info.is_object() {
        true => server_info.clone(),
        false => serde_json::json!({"name": "unnamed", "version": "unknown"}),
    }
}

enum Kind {
    Http(Mutex<http::Target>),
    Command(command::Launcher),
    Handler(Arc<dyn HandlerFactory>),
    Native(Arc<dyn NativeHandler>),
}

/// One MCP server behind Hexagram.
pub struct Upstream {
    name: UpstreamName,
    life: Life,
    health: Health,
    kind: Kind,
    info: Mutex<Option<Arc<ServerInfo>>>,
    told_era: Mutex<EraSetting>,
    spoken: watch::Sender<Spoken>,
    retry: Mutex<Retry>,
    in_folder: AtomicBool,
    tools: Tools,
    lists: Mutex<ListCache>,
    doubt: Doubt,
    // Held while it is asked, so that all who wait share one answer.
    probing: tokio::sync::Mutex<Option<Failure>>,
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
            UpstreamTarget::Url(url) => {
                Kind::Http(Mutex::new(http::Target::new(url, spec.headers, limits)?))
            }
            UpstreamTarget::Command(line) => {
                let (name, children) = (spec.name.clone(), children.clone());
                Kind::Command(command::Launcher::new(name, line, limits, children))
            }
        };
        Ok(Self::new(spec.name, kind))
    }

    /// Any rmcp `ServerHandler`, made anew by `factory` for each client session.
    pub fn from_handler(name: UpstreamName, factory: Arc<dyn HandlerFactory>) -> Self {
        let info = factory.info();
        Self::new(name, Kind::Handler(factory)).described(info)
    }

    /// A handler that answers at once, on the raw message.
    pub fn from_native(name: UpstreamName, handler: Arc<dyn NativeHandler>) -> Self {
        let info = handler.info();
        Self::new(name, Kind::Native(handler)).described(info)
    }

    fn new(name: UpstreamName, kind: Kind) -> Self {
        Self {
            name,
            life: Life::new(),
            health: Health::default(),
            kind,
            info: Mutex::default(),
            told_era: Mutex::default(),
            spoken: watch::Sender::default(),
            retry: Mutex::default(),
            in_folder: AtomicBool::default(),
            tools: Tools::default(),
            lists: Mutex::new(ListCache::new(LIMITS)),
            doubt: Doubt::default(),
            probing: tokio::sync::Mutex::default(),
        }
    }

    fn described(self, info: ServerInfo) -> Self {
        self.describe(self.told_era(), Spoken::Both, info);
        self
    }

    /// Takes in what was found while it was `told` so; nothing where it is told something else
    /// by now.
    fn describe(&self, told: EraSetting, spoken: Spoken, info: ServerInfo) {
        // Held to the end, so that another setting comes before all of it or after.
        let now = self.told_era.lock();
        if *now != told {
            return;
        }
        let info = Arc::new(info);
        let before = self.info.lock().replace(Arc::clone(&info));
        if before.is_some_and(|before| before != info) {
            self.may_have_other_tools();
        }
        // Another server may be there now.
        self.forget_lists();
        self.spoken.send_replace(spoken.within(told));
        self.answered();
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

    /// The era in which it is spoken to for a client of `era`: the client's
    /// own, where it knows that.
    pub(crate) fn era_for(&self, era: Era) -> Era {
        self.spoken.borrow().era_for(era)
    }

    /// Waits until clients of `era` are served in `wanted`.
    pub(crate) async fn speaks(&self, wanted: Era, era: Era) {
        let mut spoken = self.spoken.subscribe();
        // It holds the sender, so this never fails.
        let _ = spoken
            .wait_for(|spoken| spoken.era_for(era) == wanted)
            .await;
    }

    /// Finds out which eras it speaks, unless that is known and not doubted. One
    /// that cannot be asked now is taken for what it was, at first for legacy,
    /// and whoever uses it learns why.
    pub(crate) async fn settle(self: &Arc<Self>) {
        if (self.known_info().is_none() || self.doubt.is_raised())
            && let Err(error) = self.ask().await
        {
            tracing::debug!(upstream = self.name(), %error, "era unknown");
        }
    }

    /// It does not talk as it was known to: another server may be there now.
    pub(crate) fn unsettle(&self) {
        if matches!(self.kind, Kind::Http(_)) {
            self.doubt.raise();
        }
    }

    /// What it did until now does not work any more: another server may be
    /// there, unless there is none.
    pub(crate) fn doubt_after(&self, error: &UpstreamError) {
        if !matches!(error, UpstreamError::Unreachable(_)) {
            self.unsettle();
        }
    }

    /// Notes what a response tells of it: that it is there, and perhaps that it
    /// is another server than it was.
    pub(crate) fn responded(&self, response: &[u8]) {
        self.answered();
        if error_code(response) == Some(UNSUPPORTED_VERSION) {
            self.unsettle();
        }
    }

    /// Whether requests of clients of `era` reach it without a session.
    pub(crate) fn is_stateless_in(&self, era: Era) -> bool {
        self.era_for(era) == Era::Modern
    }

    /// Goes on with a session that another worker has opened; `None` where this
    /// upstream's sessions live in their process.
    pub(crate) fn go_on(&self, carried: &Carried) -> Option<Connection> {
        let Kind::Http(target) = &self.kind else {
            return None;
        };
        let target = target.lock().clone();
        Some(Connection::Http(HttpConnection::going_on(target, carried)))
    }

    /// A handler that goes on with what one in another process has exported; `None` where
    /// this upstream is no handler.
    pub(crate) fn import(&self, facts: &ClientFacts, state: &[u8]) -> Option<Connection> {
        let Kind::Handler(factory) = &self.kind else {
            return None;
        };
        let duplex = handler::connect(factory.as_ref(), facts, Some(state));
        Some(Connection::Duplex(duplex))
    }

    /// Opens a session of this client's own.
    pub(crate) async fn open(&self, facts: &ClientFacts) -> Result<Connection, UpstreamError> {
        let opened = self.open_now(facts).await;
        match &opened {
            Ok(_) => self.answered(),
            Err(error) => self.failed(error),
        }
        opened
    }

    async fn open_now(&self, facts: &ClientFacts) -> Result<Connection, UpstreamError> {
        let told = self.told_era();
        let opened = self.handshake(facts, Duration::MAX).await;
        let (connection, result) = opened.inspect_err(|error| self.doubt_after(error))?;
        // What a server of both eras says in the modern one is more.
        if let Some(result) = result
            && *self.spoken.borrow() == Spoken::Legacy
        {
            let info = ServerInfo::from_initialize(&result);
            self.describe(told, Spoken::Legacy, info);
        }
        Ok(connection)
    }

    /// A session, and the result of `initialize` where we had to ask; within
    /// `patience`, if that is less than the upstream's own limit.
    async fn handshake(
        &self,
        facts: &ClientFacts,
        patience: Duration,
    ) -> Result<(Connection, Option<Value>), UpstreamError> {
        let (since, told) = (Instant::now(), self.told_era());
        let (connection, limits) = match &self.kind {
            Kind::Http(target) => {
                let target = target.lock().clone();
                let limits = target.limits();
                (Connection::Http(HttpConnection::new(target)), limits)
            }
            Kind::Command(launcher) => {
                let duplex = launcher.launch()?;
                (Connection::Duplex(duplex), launcher.limits())
            }
            Kind::Handler(factory) => {
                let connection =
                    Connection::Duplex(handler::connect(factory.as_ref(), facts, None));
                // Its handshake was ours; it hears of the end of it.
                connection.send(connection::initialized()).await?;
                return Ok((connection, None));
            }
            Kind::Native(_) => {
                return Err(UpstreamError::Garbage(
                    "a native handler has no sessions".to_owned(),
                ));
            }
        };
        let initialized = connection
            .initialized(facts, limits.handshake.min(patience))
            .await;
        if let Kind::Command(launcher) = &self.kind {
            launcher.started(since, initialized.as_ref().err());
        }
        let (connection, result) = initialized.map_err(|error| in_told_era(told, error))?;
        Ok((connection, Some(result)))
    }

    /// A way for one modern request, which needs no session; `params` mirrors
    /// a call's arguments.
    pub(crate) fn open_stateless(
        &self,
        facts: &ClientFacts,
        params: HeaderMap,
    ) -> Result<Connection, UpstreamError> {
        match &self.kind {
            Kind::Handler(factory) => Ok(Connection::Duplex(handler::connect(
                factory.as_ref(),
                facts,
                None,
            ))),
            Kind::Http(target) => {
                let http = HttpConnection::stateless(target.lock().clone(), params);
                Ok(Connection::Http(http))
            }
            _ => Err(UpstreamError::Garbage("it needs a session".to_owned())),
        }
    }

    /// Checks a modern call's mirrored arguments, where we are the server that
    /// has to.
    pub(crate) fn check_params(
        &self,
        call: &Envelope<'_>,
        headers: &HeaderMap,
    ) -> Result<(), HeaderError> {
        match &self.kind {
            Kind::Handler(factory) => factory.check_params(call, headers),
            Kind::Http(_) | Kind::Command(_) | Kind::Native(_) => Ok(()),
        }
    }

    pub(crate) fn known_info(&self) -> Option<Arc<ServerInfo>> {
        self.info.lock().clone()
    }
}
