//! One keep-alive connection and, in the legacy era, its session.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpStream;

use crate::failure::Failure;
use crate::reply::Reply;
use crate::target::{Era, LEGACY_VERSION, PROTOCOL_VERSION, Target, client_info};

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const INITIALIZE_ID: u64 = 0;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// A connection that makes one call at a time, and opens itself again when the
/// server closed it or forgot its session.
#[derive(Debug)]
pub struct Connection {
    target: Arc<Target>,
    sender: SendRequest<Full<Bytes>>,
    headers: HeaderMap,
    last_id: u64,
    session_lost: bool,
    // The standing stream; nothing else goes over the connection meanwhile.
    listening: Option<Incoming>,
}

/// A complete reply.
struct Received {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InitializeResult {
    protocol_version: String,
}

impl Connection {
    /// Connects, and in the legacy era starts a session.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the session.
    pub async fn open(target: Arc<Target>) -> Result<Self, Failure> {
        let mut connection = Self {
            sender: connect(&target).await?,
            headers: target.headers().clone(),
            target,
            last_id: INITIALIZE_ID,
            session_lost: false,
            listening: None,
        };
        if connection.target.era() == Era::Legacy {
            connection.initialize().await?;
        }
        Ok(connection)
    }

    /// Makes one call and checks its answer.
    ///
    /// # Errors
    /// Any answer but the right one, and a connection that broke.
    pub async fn call(&mut self) -> Result<(), Failure> {
        if self.session_lost || self.sender.ready().await.is_err() {
            *self = Self::open(self.target.clone()).await?;
        }
        self.last_id += 1;
        let body = self.target.call(self.last_id);
        let received = self.send(Method::POST, body).await?;
        let outcome = received
            .reply()
            .check_call(self.last_id, self.target.text());
        if let Err(failure) = &outcome {
            self.session_lost = self.target.era() == Era::Legacy && failure.is_session_lost();
        }
        outcome
    }

    /// Opens the session's standing stream and keeps it, unread.
    ///
    /// # Errors
    /// When the server offers none.
    pub async fn listen(&mut self) -> Result<(), Failure> {
        self.sender.ready().await?;
        let mut request = self.request(Method::GET, Bytes::new());
        let events = HeaderValue::from_static("text/event-stream");
        request.headers_mut().insert(ACCEPT, events);
        let (parts, body) = self.sender.send_request(request).await?.into_parts();
        if parts.status != StatusCode::OK {
            let refused = Received {
                status: parts.status,
                headers: parts.headers,
                body: body.collect().await?.to_bytes(),
            };
            return Err(refused.reply().refusal());
        }
        self.listening = Some(body);
        Ok(())
    }

    /// Ends the session, if there is one, and closes.
    ///
    /// # Errors
    /// When the server refuses the DELETE otherwise than by 405, which only
    /// says that its sessions end by themselves.
    pub async fn close(mut self) -> Result<(), Failure> {
        if self.listening.take().is_some() {
            self.sender = connect(&self.target).await?;
        }
        if !self.headers.contains_key(SESSION_ID) || self.sender.is_closed() {
            return Ok(());
        }
        let received = self.send(Method::DELETE, Bytes::new()).await?;
        let status = received.status;
        if status.is_success() || status == StatusCode::METHOD_NOT_ALLOWED {
            return Ok(());
        }
        Err(received.reply().refusal())
    }

    async fn initialize(&mut self) -> Result<(), Failure> {
        let body = json!({
            "jsonrpc": "2.0", "id": INITIALIZE_ID, "method": "initialize",
            "params": {
                "protocolVersion": LEGACY_VERSION, "capabilities": {}, "clientInfo": client_info(),
            },
        });
        let received = self.send(Method::POST, body.to_string().into()).await?;
        let version = received
            .reply()
            .with_result(INITIALIZE_ID, negotiated_version)?;
        self.headers.insert(PROTOCOL_VERSION, version);
        if let Some(session) = received.headers.get(SESSION_ID) {
            self.headers.insert(SESSION_ID, session.clone());
        }
        let accepted = self.send(Method::POST, INITIALIZED.into()).await?;
        if accepted.status.is_success() {
            return Ok(());
        }
        Err(accepted.reply().refusal())
    }

    async fn send(&mut self, method: Method, body: Bytes) -> Result<Received, Failure> {
        self.sender.ready().await?;
        let request = self.request(method, body);
        let (parts, body) = self.sender.send_request(request).await?.into_parts();
        Ok(Received {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await?.to_bytes(),
        })
    }
}

impl Connection {
    fn request(&self, method: Method, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.target.uri();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

impl Received {
    fn reply(&self) -> Reply<'_> {
        let content_type = self.headers.get(CONTENT_TYPE);
        Reply {
            status: self.status,
            is_stream: content_type
                .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream")),
            body: &self.body,
        }
    }
}

async fn connect(target: &Target) -> Result<SendRequest<Full<Bytes>>, Failure> {
    let stream = TcpStream::connect(target.address())
        .await
        .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
        .map_err(|error| Failure::connect(target.url(), &error))?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // A broken connection shows at the caller, as the failure of its call.
    tokio::spawn(connection);
    Ok(sender)
}

fn negotiated_version(result: &str) -> Result<HeaderValue, Failure> {
    serde_json::from_str::<InitializeResult>(result)
        .ok()
        .and_then(|result| result.protocol_version.parse().ok())
        .ok_or(Failure::NoAnswer)
}
