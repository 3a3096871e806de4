//! rmcp handlers on a worker: rmcp's types live on this border and nowhere
//! further in.

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::HeaderMap;
use rmcp::model::{ClientJsonRpcMessage, ErrorData, InitializeRequestParams};
use rmcp::service::{
    NotificationContext, RequestContext, RxJsonRpcMessage, Service, ServiceRole, TxJsonRpcMessage,
    serve_directly_with_ct,
};
use rmcp::transport::Transport;
use rmcp::{RoleServer, ServerHandler};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::ServerInfo;
use super::duplex::Duplex;
use super::export::Export;
use super::mirrored::arguments;
use super::without_tasks;
use crate::facts::ClientFacts;
use hexagram_mcp::client::capabilities_json;
use hexagram_mcp::envelope::Envelope;
use hexagram_mcp::header::{HeaderError, check_params};

/// Messages that wait between a session and its handler.
const QUEUE: usize = 64;
/// A handler that neither answers nor reports progress for so long has hung.
const SILENCE: Duration = Duration::from_secs(3600);

/// Makes handlers, one for each client session.
pub trait HandlerFactory: Send + Sync + 'static {
    /// What the server says of itself.
    fn info(&self) -> ServerInfo;
    /// Checks the headers of a modern call against what the tool's schema asks.
    ///
    /// # Errors
    /// Which header does not agree with its argument.
    fn check_params(&self, call: &Envelope<'_>, headers: &HeaderMap) -> Result<(), HeaderError>;
    /// Serves a new handler on a pipe of raw messages until the pipe closes. It goes on
    /// with what one in another process has exported, where there is that; gives what
    /// exports its own state.
    fn serve(
        &self,
        pipe: Pipe,
        client: Option<InitializeRequestParams>,
        state: Option<&[u8]>,
    ) -> Export;
}

/// A handler whose state moves along when its session's shard moves to another process
/// (DESIGN 5b). It is asked for while no message is admitted; a call that still runs may
/// change it after that, which the next owner does not see.
pub trait Portable: ServerHandler {
    /// What [`import`](Self::import) goes on with; empty: nothing is worth keeping. All
    /// state of a shard's sessions together is 256 MiB at most.
    fn export(&self) -> Vec<u8>;

    /// Goes on with what another has exported, maybe one of another release: what cannot
    /// be read is left aside, and the session begins anew. The handshake is not repeated:
    /// `on_initialized` is not called.
    fn import(&mut self, state: &[u8]);
}

/// Makes each session's handler with `make`.
pub fn handler<H: ServerHandler>(
    make: impl Fn() -> H + Send + Sync + 'static,
) -> Arc<dyn HandlerFactory> {
    let build = move |_: Option<&[u8]>| make();
    Arc::new(Factory {
        build,
        export: |_: &H| Vec::new(),
        tasks: true,
    })
}

/// As [`handler`], for handlers whose state moves with their shard to other processes.
pub fn portable_handler<H: Portable>(
    make: impl Fn() -> H + Send + Sync + 'static,
) -> Arc<dyn HandlerFactory> {
    let build = move |state: Option<&[u8]>| {
        let mut handler = make();
        state.into_iter().for_each(|state| handler.import(state));
        handler
    };
    Arc::new(Factory {
        build,
        export: H::export,
        tasks: true,
    })
}

/// As [`handler`], in a process that cannot promise to keep a task: its handlers
/// neither offer nor begin any.
pub fn handler_without_tasks<H: ServerHandler>(
    make: impl Fn() -> H + Send + Sync + 'static,
) -> Arc<dyn HandlerFactory> {
    let build = move |_: Option<&[u8]>| make();
    Arc::new(Factory {
        build,
        export: |_: &H| Vec::new(),
        tasks: false,
    })
}

struct Factory<F, H> {
    build: F,
    export: fn(&H) -> Vec<u8>,
    tasks: bool,
}

impl<H, F> HandlerFactory for Factory<F, H>
where
    H: ServerHandler,
    F: Fn(Option<&[u8]>) -> H + Send + Sync + 'static,
{
    fn info(&self) -> ServerInfo {
        let info = ServerHandler::get_info(&(self.build)(None));
        let info = serde_json::to_value(info).unwrap_or_default();
        let info = ServerInfo::from_initialize(&info);
        match self.tasks {
            true => info,
            false => without_tasks::described(info),
        }
    }

    fn check_params(&self, call: &Envelope<'_>, headers: &HeaderMap) -> Result<(), HeaderError> {
        let name = call.name.as_deref().unwrap_or_default();
        let Some(tool) = (self.build)(None).get_tool(name) else {
            return Ok(());
        };
        let properties = tool.input_schema.get("properties");
        check_params(headers, properties.unwrap_or(&Value::Null), || {
            arguments(call)
        })
    }

    fn serve(
        &self,
        pipe: Pipe,
        client: Option<InitializeRequestParams>,
        state: Option<&[u8]>,
    ) -> Export {
        let closed = CancellationToken::new();
        let pipe = Pipe {
            tasks: self.tasks,
            ..pipe
        };
        let handler = Arc::new((self.build)(state));
        let (export, held) = (self.export, Arc::downgrade(&handler));
        let running = serve_directly_with_ct(Guarded(handler), pipe, client, closed);
        tokio::spawn(async move {
            if let Err(error) = running.waiting().await {
                tracing::error!(%error, "a handler's task failed");
            }
        });
        Export::new(move || {
            let handler = held.upgrade()?;
            // A panic is an error of its exchange, and there is none.
            let state = std::panic::catch_unwind(AssertUnwindSafe(|| export(&handler))).ok()?;
            (!state.is_empty()).then(|| state.into())
        })
    }
}

/// Opens a session with a handler, which goes on with what another has exported, where
/// there is that.
pub(super) fn connect(
    factory: &dyn HandlerFactory,
    facts: &ClientFacts,
    state: Option<&[u8]>,
) -> Duplex {
    let (to_handler, incoming) = mpsc::channel(QUEUE);
    let (outgoing, from_handler) = mpsc::channel(QUEUE);
    let pipe = Pipe {
        incoming,
        outgoing,
        tasks: true,
    };
    let export = factory.serve(pipe, peer_info(facts), state);
    Duplex::new(to_handler, from_handler, SILENCE).exporting(export)
}

fn peer_info(facts: &ClientFacts) -> Option<InitializeRequestParams> {
    let params = json!({
        "protocolVersion": facts.version.as_str(),
        "capabilities": capabilities_json(facts.capabilities),
        "clientInfo": {"name": facts.name, "version": facts.software_version},
    });
    serde_json::from_value(params).ok()
}

/// rmcp's transport over raw messages.
pub struct Pipe {
    incoming: mpsc::Receiver<Bytes>,
    outgoing: mpsc::Sender<Bytes>,
    /// Whether its handler is told of tasks.
    tasks: bool,
}

impl Transport<RoleServer> for Pipe {
    type Error = Infallible;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Infallible>> + Send + 'static {
        let outgoing = self.outgoing.clone();
        async move {
            match serde_json::to_vec(&item) {
                // A closed pipe has no client any more.
                Ok(message) => drop(outgoing.send(Bytes::from(message)).await),
                Err(error) => tracing::error!(%error, "a handler's message is not JSON"),
            }
            Ok(())
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            let message = self.hear().await?;
            match serde_json::from_slice::<ClientJsonRpcMessage>(&message) {
                Ok(message) => return Some(message),
                Err(error) => self.refuse(&message, &error).await,
            }
        }
    }

    async fn close(&mut self) -> Result<(), Infallible> {
        self.incoming.close();
        Ok(())
    }
}

impl Pipe {
    /// The next message that is for the handler.
    async fn hear(&mut self) -> Option<Bytes> {
        loop {
            let message = self.incoming.recv().await?;
            if self.tasks {
                return Some(message);
            }
            match without_tasks::heard(message) {
                Ok(message) => return Some(message),
                // A closed pipe has no client any more.
                Err(answer) => drop(self.outgoing.send(answer).await),
            }
        }
    }

    /// Answers a request that rmcp's types do not know.
    async fn refuse(&self, message: &[u8], error: &serde_json::Error) {
        let Ok(envelope) = hexagram_mcp::envelope::scan(message) else {
            return;
        };
        if let Some(id) = envelope.id {
            let problem = hexagram_mcp::error::Problem::InvalidParams {
                detail: error.to_string(),
            };
            drop(self.outgoing.send(problem.body(Some(id.as_str()))).await);
        }
    }
}

/// Turns a handler's panic into an error of its exchange.
struct Guarded<H>(Arc<H>);

impl<H: ServerHandler> Service<RoleServer> for Guarded<H> {
    async fn handle_request(
        &self,
        request: <RoleServer as ServiceRole>::PeerReq,
        context: RequestContext<RoleServer>,
    ) -> Result<<RoleServer as ServiceRole>::Resp, ErrorData> {
        AssertUnwindSafe(Service::handle_request(&*self.0, request, context))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Err(ErrorData::internal_error("the handler panicked", None)))
    }

    async fn handle_notification(
        &self,
        notification: <RoleServer as ServiceRole>::PeerNot,
        context: NotificationContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        AssertUnwindSafe(Service::handle_notification(
            &*self.0,
            notification,
            context,
        ))
        .catch_unwind()
        .await
        .unwrap_or(Ok(()))
    }

    fn get_info(&self) -> <RoleServer as ServiceRole>::Info {
        Service::get_info(&*self.0)
    }

    fn supported_protocol_versions(
        &self,
    ) -> std::borrow::Cow<'static, [rmcp::model::ProtocolVersion]> {
        Service::supported_protocol_versions(&*self.0)
    }
}
