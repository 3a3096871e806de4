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
    let unusable = |text: String| StoreError::Unusable(format!("{address} {text}"));
    let lost = |text: String| StoreError::Lost(format!("{address} {text}"));
    if error.kind() == ErrorKind::AuthenticationFailed {
        return unusable("refuses user or password: check the store's URL".to_owned());
    }
    match code(error).as_deref() {
        Some("NOAUTH" | "WRONGPASS") => {
            unusable("refuses user or password: check the store's URL".to_owned())
        }
        Some("NOPERM") => unusable(format!("does not allow our user what it needs: {text}")),
        Some("WRONGTYPE") => unusable("has a key of ours that something else wrote".to_owned()),
        Some("MOVED" | "CROSSSLOT") => {
            unusable("runs in cluster mode: use a single server".to_owned())
        }
        Some("OOM") => lost("has no memory left: raise its maxmemory".to_owned()),
        Some("LOADING") => lost("is still loading its data".to_owned()),
        Some("READONLY") => lost("became a replica while we used it".to_owned()),
        Some("ERR") => unusable(format!("refuses: {text}")),
        Some(_) => lost(format!("refuses for now: {text}")),
        None if is_tls(error) => unusable(format!(
            "has no certificate that we trust, or no TLS: {text}; check the store's URL and CA"
        )),
        None if matches!(
            error.kind(),
            ErrorKind::UnexpectedReturnType | ErrorKind::Parse
        ) =>
        {
            unusable(format!("answers what no store of ours does: {text}"))
        }
        None if error.is_timeout() => lost("takes too long".to_owned()),
        None => lost(format!("cannot be reached: {text}")),
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
