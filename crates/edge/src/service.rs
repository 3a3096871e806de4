//! The MCP endpoint: POST, GET and DELETE on one path.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hexagram_core::ProtocolVersion;
use hexagram_mcp::envelope::{Envelope, Kind, is_batch, scan};
use hexagram_mcp::error::Problem;
use hexagram_mcp::header;
use hexagram_proto::link::ExchangeKind;
use http::header::CONNECTION;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body::Body as HttpBody;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceBuilder};

use crate::args::EdgeArgs;
use crate::auth::Authenticator;
use crate::check::{CheckLayer, Checked, Counted};
use crate::client::{Connection, Identifier, Proxies, connection, principal};
use crate::exchange::{Exchange, draining};
use crate::guard::Guard;
use crate::metrics::EdgeMetrics;
use crate::parting::{End, Parting, turn};
use crate::reply::{Replier, Response, refusal, refusal_of_batch};
use crate::routing::{Routed, Router, Sender};
use crate::switchboard::Switchboard;
use crate::{EdgeContext, EdgeError, body};

/// Path of the endpoint.
const PATH: &str = "/mcp";
/// The refusal of a method that [`Target`] does not know.
const OTHER_METHOD: Problem = Problem::MethodNotAllowed {
    allowed: "GET, POST, DELETE",
};

/// Serves MCP requests that have passed the checks.
#[derive(Clone)]
pub(crate) struct McpService(Arc<Inner>);

struct Inner {
    router: Router,
    board: Arc<Switchboard>,
    args: EdgeArgs,
    leaving: CancellationToken,
    parting: Parting,
    guard: Arc<Counted<Guard>>,
    authenticator: Arc<Counted<Authenticator>>,
}

impl McpService {
    pub(crate) fn new(
        args: &EdgeArgs,
        context: EdgeContext,
        board: Arc<Switchboard>,
    ) -> Result<Self, EdgeError> {
        let (identifier, authenticator) = settings(args)?;
        authenticator.follow();
        Ok(Self(Arc::new(Inner {
            router: Router {
                identifier,
                sealer: context.sealer,
                lifetime: context.session_lifetime,
                shards: context.shards,
            },
            args: args.clone(),
            leaving: CancellationToken::new(),
            parting: Parting::default(),
            guard: Arc::new(Counted::new(Guard::new(args), &board.metrics)),
            authenticator: Arc::new(Counted::new(authenticator, &board.metrics)),
            board,
        })))
    }

    /// The service behind its checks, for one connection.
    pub(crate) fn stack(&self) -> Checked<Guard, Checked<Authenticator, Self>> {
        ServiceBuilder::new()
            .layer(CheckLayer::new(Arc::clone(&self.0.guard)))
            .layer(CheckLayer::new(Arc::clone(&self.0.authenticator)))
            .service(self.clone())
    }

    pub(crate) fn metrics(&self) -> &EdgeMetrics {
        &self.0.board.metrics
    }

    /// Begins the drain: every answer asks its client to close the connection. One
    /// that is asked never sends into a connection that we close.
    pub(crate) fn leave(&self) {
        self.0.leaving.cancel();
    }

    /// Ends the standing streams within `grace`, and refuses new ones: their clients go
    /// to another edge.
    pub(crate) fn part(&self, grace: Duration) {
        let streams = u32::try_from(self.metrics().streams.get());
        self.0.parting.begin(streams.unwrap_or_default(), grace);
    }

    /// Ends the calls that are still running, each with an answer.
    pub(crate) fn end_calls(&self) {
        self.0.board.fail();
    }
}

/// What the settings say of who may call and how callers are told apart.
///
/// # Errors
/// [`EdgeError`] naming the setting to change.
pub(crate) fn settings(args: &EdgeArgs) -> Result<(Identifier, Authenticator), EdgeError> {
    let proxies = Proxies::new(&args.trusted_proxies);
    let authenticator = Authenticator::new(args, &proxies)?;
    let header = routing_header(args)?;
    let identifier = Identifier::new(proxies, header, args.routing_spread);
    Ok((identifier, authenticator))
}

fn routing_header(args: &EdgeArgs) -> Result<Option<HeaderName>, EdgeError> {
    let Some(name) = &args.routing_header else {
        return Ok(None);
    };
    if args.trusted_proxies.is_empty() {
        return Err(EdgeError::Settings(
            "--routing-header needs --trusted-proxies: anyone could send the header".to_owned(),
        ));
    }
    HeaderName::from_bytes(name.as_bytes())
        .map(Some)
        .map_err(|_| EdgeError::Settings(format!("--routing-header {name:?} is not a header name")))
}

impl<B> Service<Request<B>> for McpService
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let inner = Arc::clone(&self.0);
        // Taken apart here, so that the future carries only what it needs.
        let (parts, body) = split(request);
        let age = Arc::clone(&parts.connection.age);
        Box::pin(async move {
            let mut response = inner.serve(parts, body).await;
            if inner.leaving.is_cancelled() || age.is_over() {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            Ok(response)
        })
    }
}

impl Inner {
    async fn serve<B>(&self, parts: Parts, body: B) -> Response
    where
        B: HttpBody<Data = Bytes> + Unpin,
    {
        match parts.target {
            Target::Post => self.post(&parts, body).await,
            Target::Get => self.in_session(&parts, ExchangeKind::Stream).await,
            Target::Delete => self.in_session(&parts, ExchangeKind::Delete).await,
            Target::OtherMethod => self.refused(&OTHER_METHOD, None),
            Target::OtherPath(ref path) => {
                let path = path.to_string();
                self.refused(&Problem::NotFound { path }, None)
            }
        }
    }

    fn refused(&self, problem: &Problem, id: Option<&str>) -> Response {
        self.board.metrics.refused(problem);
        refusal(problem, id)
    }

    async fn post<B>(&self, parts: &Parts, body: B) -> Response
    where
        B: HttpBody<Data = Bytes> + Unpin,
    {
        // The body is read even when the head is refused, so that the
        // connection can carry the next request.
        let body = match body::read(body, self.args.max_message as usize).await {
            Ok(body) => body,
            Err(problem) => return self.refused(&problem, None),
        };
        if let Err(problem) = post_headers(&parts.headers) {
            return self.refused(&problem, None);
        }
        match self.batch(parts, &body) {
            Ok(None) => {}
            Ok(Some(routed)) => return self.answer_batch(routed).await,
            Err(problem) => return self.refused(&problem, None),
        }
        match scan(&body) {
            Ok(envelope) => self.message(parts, &body, &envelope).await,
            Err(error) => {
                let id = error.id().map(str::to_owned);
                self.refused(&error.into(), id.as_deref())
            }
        }
    }

    /// A batch in a session that knows batches. Any other array is no message.
    fn batch(&self, parts: &Parts, body: &Bytes) -> Result<Option<Routed>, Problem> {
        if !is_batch(body) {
            return Ok(None);
        }
        let (from, kind) = (parts.sender(), ExchangeKind::Message);
        let mut routed = match self.router.in_session(&from, kind) {
            Ok(routed) => routed,
            Err(Problem::SessionNotFound) => return Err(Problem::SessionNotFound),
            Err(_) => return Ok(None),
        };
        if routed.open.version != u32::from(ProtocolVersion::V2025_03_26.code()) {
            return Ok(None);
        }
        routed.open.body = body.clone();
        routed.begins = true;
        Ok(Some(routed))
    }

    async fn answer_batch(&self, routed: Routed) -> Response {
        let body = routed.open.body.clone();
        let replier = Replier {
            batch: Some(body.clone()),
            // Nobody looks into it here.
            may_have_run: true,
            ..self.replier()
        };
        let answer = self.exchange(routed, replier).await;
        answer.unwrap_or_else(|problem| {
            self.board.metrics.refused(&problem);
            refusal_of_batch(&problem, &body)
        })
    }

    async fn message(&self, parts: &Parts, body: &Bytes, envelope: &Envelope<'_>) -> Response {
        // An error carries the id of a request, never of a response.
        let id = envelope
            .id
            .as_ref()
            .filter(|_| envelope.kind == Kind::Request);
        let id = id.map(|id| id.as_str());
        let answer = match self.router.message(&parts.sender(), envelope) {
            Ok(routed) if routed.standing && self.parting.has_begun() => Err(draining()),
            Ok(mut routed) => {
                routed.open.body = body.clone();
                let replier = Replier {
                    end: routed.standing.then(|| self.end(&parts.connection, None)),
                    id,
                    may_have_run: may_have_run(envelope),
                    may_stream: envelope.method.as_deref() != Some("initialize"),
                    ..self.replier()
                };
                self.exchange(routed, replier).await
            }
            Err(problem) => Err(problem),
        };
        answer.unwrap_or_else(|problem| self.refused(&problem, id))
    }

    async fn in_session(&self, parts: &Parts, kind: ExchangeKind) -> Response {
        let answer = match self.standing(parts, kind) {
            Ok(routed) => {
                self.exchange(routed, self.standing_replier(parts, kind))
                    .await
            }
            Err(problem) => Err(problem),
        };
        answer.unwrap_or_else(|problem| self.refused(&problem, None))
    }

    fn standing(&self, parts: &Parts, kind: ExchangeKind) -> Result<Routed, Problem> {
        let mut routed = self.router.in_session(&parts.sender(), kind)?;
        if kind == ExchangeKind::Stream {
            if !header::accepts_sse(&parts.headers) {
                return Err(Problem::NotAcceptable);
            }
            routed.open.last_event_id = last_event_id(&parts.headers)?;
            if self.parting.has_begun() {
                return Err(draining());
            }
        }
        Ok(routed)
    }

    fn standing_replier(&self, parts: &Parts, kind: ExchangeKind) -> Replier<'static> {
        let standing = kind == ExchangeKind::Stream;
        let session = parts.headers.get(header::names::MCP_SESSION_ID);
        let session = session.and_then(|id| id.to_str().ok());
        Replier {
            may_stream: standing,
            end: standing.then(|| self.end(&parts.connection, session)),
            ..self.replier()
        }
    }

    /// When a standing stream on `connection` is to end; `session`: the sealed id of the
    /// session it belongs to, if it does to any.
    fn end(&self, connection: &Connection, session: Option<&str>) -> End {
        let parting = self.parting.end();
        let aged = Arc::clone(&connection.age).end_stream();
        let closed = self.closed(session);
        Box::pin(async move {
            tokio::select! {
                () = parting => {}
                () = aged => {}
                () = closed => {}
            }
        })
    }

    /// Passes when a stream ends because no key is left that opens this sealed id.
    fn closed(&self, id: Option<&str>) -> impl Future<Output = ()> + Send + Sync + use<> {
        let (sealer, id) = (Arc::clone(&self.router.sealer), id.map(Box::<str>::from));
        let opens = move |id: &str| sealer.open_session(id).is_ok();
        let opens = move || id.as_deref().is_none_or(&opens);
        let closed = self.board.rings.closed(opens);
        let streams = self.board.metrics.streams.clone();
        async move {
            closed.await;
            turn(u32::try_from(streams.get()).unwrap_or_default()).await;
        }
    }

    fn replier(&self) -> Replier<'static> {
        Replier {
            id: None,
            batch: None,
            may_have_run: false,
            may_stream: true,
            end: None,
            streams: self.board.metrics.streams.clone(),
        }
    }

    async fn exchange(&self, routed: Routed, replier: Replier<'_>) -> Result<Response, Problem> {
        replier.answer(Exchange::open(&self.board, routed)?).await
    }
}

/// What a request asks for.
enum Target {
    Post,
    Get,
    Delete,
    OtherMethod,
    OtherPath(Box<str>),
}

impl Target {
    fn of(method: &Method, path: &str) -> Self {
        match *method {
            _ if path != PATH => Self::OtherPath(path.into()),
            Method::POST => Self::Post,
            Method::GET => Self::Get,
            Method::DELETE => Self::Delete,
            _ => Self::OtherMethod,
        }
    }
}

/// A request without its body.
struct Parts {
    target: Target,
    headers: HeaderMap,
    principal: hexagram_core::Principal,
    connection: Arc<Connection>,
}

impl Parts {
    fn sender(&self) -> Sender<'_> {
        Sender {
            principal: &self.principal,
            connection: &self.connection,
            headers: &self.headers,
        }
    }
}

fn split<B>(request: Request<B>) -> (Parts, B) {
    let principal = principal(&request);
    let connection = Arc::clone(connection(&request));
    let (head, body) = request.into_parts();
    let parts = Parts {
        target: Target::of(&head.method, head.uri.path()),
        headers: head.headers,
        principal,
        connection,
    };
    (parts, body)
}

/// A POST says that it is JSON and that it takes both forms of reply.
fn post_headers(headers: &HeaderMap) -> Result<(), Problem> {
    if !header::is_json_content(headers) {
        return Err(Problem::UnsupportedMediaType);
    }
    if !header::accepts_json_and_sse(headers) {
        return Err(Problem::NotAcceptable);
    }
    Ok(())
}

/// The event behind which a client wants to go on; empty where it names none.
fn last_event_id(headers: &HeaderMap) -> Result<String, Problem> {
    let Some(id) = headers.get(header::names::LAST_EVENT_ID) else {
        return Ok(String::new());
    };
    let id = id.to_str().map_err(|_| Problem::UnknownEvent)?;
    Ok(id.to_owned())
}

/// Whether a message lost on the way may have had an effect. Reading again is
/// harmless; a tool call is not.
fn may_have_run(envelope: &Envelope<'_>) -> bool {
    envelope.kind == Kind::Request && envelope.method.as_deref() == Some("tools/call")
}
