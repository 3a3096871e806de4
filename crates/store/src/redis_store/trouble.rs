//! What an error of the server or of the way there means for the caller.

use std::error::Error;
use std::io;
use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::store::StoreError;

/// What to do after a call has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// The connection is as good as before.
    None,
    /// The next call needs another connection.
    Reconnect,
    /// As that, and this call may be made again: all calls may be repeated, and it is
    /// likely to be served there.
    Again,
}

/// What to do after `error`.
pub(super) fn remedy(error: &RedisError) -> Remedy {
    match error.kind() {
        // The server forgot our scripts, or became a replica of another one: connecting
        // again loads the ones and finds the other.
        ErrorKind::Server(ServerErrorKind::NoScript | ServerErrorKind::ReadOnly) => Remedy::Again,
        ErrorKind::Server(_) | ErrorKind::Extension => Remedy::None,
        // No use to wait for the same silence twice.
        _ if error.is_timeout() => Remedy::Reconnect,
        _ if error.is_connection_dropped() => Remedy::Again,
        _ => Remedy::Reconnect,
    }
}

/// `error` of the server at `address`, for the caller.
pub(super) fn explain(error: &RedisError, address: &str) -> StoreError {
    let text = text(error);
    let (kind, why) = match code(error) {
        Some(code) => told_by_server(&code, &text),
        None => found_here(error, &text),
    };
    kind(format!("{address} {why}"))
}

/// Which of the two it is.
type Kind = fn(String) -> StoreError;
const LOST: Kind = StoreError::Lost;
const UNUSABLE: Kind = StoreError::Unusable;

const LOGIN: &str = "refuses user or password: check the store's URL";

fn told_by_server(code: &str, text: &str) -> (Kind, String) {
    let (kind, why) = match code {
        "NOAUTH" | "WRONGPASS" => (UNUSABLE, LOGIN),
        "WRONGTYPE" => (UNUSABLE, "has a key of ours that something else wrote"),
        "MOVED" | "CROSSSLOT" => (UNUSABLE, "runs in cluster mode: use a single server"),
        "OOM" => (LOST, "has no memory left: raise its maxmemory"),
        "LOADING" => (LOST, "is still loading its data"),
        "READONLY" => (LOST, "became a replica while we used it"),
        "ERR" if text.contains("max number of clients") => {
            (LOST, "takes no more clients: raise its maxclients")
        }
        "NOPERM" => return (UNUSABLE, format!("does not allow our user enough: {text}")),
        "ERR" => return (UNUSABLE, format!("refuses: {text}")),
        _ => return (LOST, format!("refuses for now: {text}")),
    };
    (kind, why.to_owned())
}

fn found_here(error: &RedisError, text: &str) -> (Kind, String) {
    match error.kind() {
        ErrorKind::AuthenticationFailed => (UNUSABLE, LOGIN.to_owned()),
        ErrorKind::UnexpectedReturnType | ErrorKind::Parse => (
            UNUSABLE,
            format!("answers what no store of ours does: {text}"),
        ),
        _ if is_tls(error) => {
            let why = "has no certificate that we trust, or no TLS";
            (
                UNUSABLE,
                format!("{why}: {text}; check the store's URL and CA"),
            )
        }
        _ if error.is_timeout() => (LOST, "takes too long".to_owned()),
        _ => (LOST, format!("cannot be reached: {text}")),
    }
}

/// The server's code of the failure; of several the first.
fn code(error: &RedisError) -> Option<String> {
    let failures = error.clone().into_server_errors();
    let first = failures.as_ref().and_then(|failures| failures.first());
    let code = first.map_or_else(|| error.code(), |(_, failure)| Some(failure.code()));
    code.map(str::to_owned)
}

/// What the server says of it, else what is known here.
fn text(error: &RedisError) -> String {
    let failures = error.clone().into_server_errors();
    match failures.as_ref().and_then(|failures| failures.first()) {
        Some((_, failure)) => failure.details().unwrap_or(failure.code()).to_owned(),
        None => error.to_string(),
    }
}

fn is_tls(error: &RedisError) -> bool {
    type Shared = Arc<dyn Error + Send + Sync>;
    let source = error
        .source()
        .and_then(|source| source.downcast_ref::<Shared>());
    let io = source.and_then(|source| source.downcast_ref::<io::Error>());
    let cause = io.and_then(io::Error::get_ref);
    cause.is_some_and(|cause| cause.is::<rustls::Error>())
}
