//! The bare server: hyper with the same payload and nothing else, the
//! reference of REQUIREMENTS section 1.

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, Write};

use anyhow::Context;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::args::BareArgs;
use crate::bare_answer::{BareAnswer, answer};
use crate::signals::Signals;

/// Every client gets the same session: nothing is kept for it.
const SESSION: HeaderValue = HeaderValue::from_static("bare");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Runs `bench bare`: prints the URL, then serves until told to end.
pub(crate) async fn run(args: BareArgs) -> anyhow::Result<()> {
    let listener = TcpListener::bind(args.listen).await.with_context(|| {
        format!(
            "cannot listen on {}: choose another address with --listen",
            args.listen
        )
    })?;
    let end = end_of(args.with_parent)?;
    writeln!(io::stdout(), "http://{}/mcp", listener.local_addr()?)?;
    tokio::select! {
        () = serve(listener) => {}
        () = end => {}
    }
    Ok(())
}

/// Serves `listener` until the future is dropped. Connections are tasks of the
/// surrounding runtime and end with it.
pub async fn serve(listener: TcpListener) {
    loop {
        // A failed accept (a client gone again, no descriptor left) is the
        // client's to notice; yielding keeps it from becoming a spin.
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(converse(stream))),
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

async fn converse(stream: TcpStream) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    // An error here is a client that left.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service_fn(respond))
        .await;
}

async fn respond(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let response = match *request.method() {
        Method::POST => match request.into_body().collect().await {
            Ok(body) => posted(&body.to_bytes()),
            Err(_) => status(StatusCode::BAD_REQUEST),
        },
        Method::DELETE => status(StatusCode::OK),
        _ => not_allowed(),
    };
    Ok(response)
}

fn posted(body: &[u8]) -> Response<Full<Bytes>> {
    match answer(body) {
        BareAnswer::Json(body) => json(body),
        BareAnswer::Session(body) => {
            let mut response = json(body);
            response.headers_mut().insert("mcp-session-id", SESSION);
            response
        }
        BareAnswer::Accepted => status(StatusCode::ACCEPTED),
        BareAnswer::Malformed => status(StatusCode::BAD_REQUEST),
    }
}

fn json(body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

fn not_allowed() -> Response<Full<Bytes>> {
    let mut response = status(StatusCode::METHOD_NOT_ALLOWED);
    let allowed = HeaderValue::from_static("POST, DELETE");
    response.headers_mut().insert(ALLOW, allowed);
    response
}

/// SIGINT, SIGTERM, or, for a child of the bench, the end of standard input.
fn end_of(with_parent: bool) -> io::Result<impl Future<Output = ()>> {
    let mut signals = Signals::new()?;
    let parent = with_parent.then(parent_gone);
    Ok(async move {
        tokio::select! {
            () = signals.next() => {}
            Some(_) = async { Some(parent?.await) } => {}
        }
    })
}

/// Completes when standard input ends. Reading it blocks, hence the thread.
fn parent_gone() -> oneshot::Receiver<()> {
    let (gone, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = gone.send(());
    });
    receiver
}
