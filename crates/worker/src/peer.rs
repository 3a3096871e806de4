//! Who may call which of a worker's services.

use std::fmt;

use tonic::{Extensions, Request, Status};

/// Who has proved to be at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Links.
    Edge,
    /// Gives and takes shards.
    Worker,
    /// Watches what the worker holds.
    Controller,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Edge => "edge",
            Self::Worker => "worker",
            Self::Controller => "controller",
        })
    }
}

/// What every request says of its connection: who is there, or none where nobody has to prove
/// it, as in one process or without TLS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known(pub(crate) Option<Peer>);

type Judged = Result<Request<()>, Status>;

/// Lets calls of `wanted` through, and those of nobody else who has proved who he is.
pub(crate) fn only(wanted: Peer) -> impl Fn(Request<()>) -> Judged + Clone + Send + Sync + 'static {
    move |request| check(request.extensions(), wanted).map(|()| request)
}

/// Whether a call with these extensions is of `wanted`, or of one who need not prove it.
pub(crate) fn check(extensions: &Extensions, wanted: Peer) -> Result<(), Status> {
    match extensions.get::<Known>().copied() {
        Some(Known(None)) => Ok(()),
        Some(Known(Some(peer))) if peer == wanted => Ok(()),
        Some(Known(Some(peer))) => Err(Status::permission_denied(format!(
            "this is the {wanted}s' to ask of a worker, and the caller has the certificate of \
             another role ({peer}): give each process its own"
        ))),
        None => Err(Status::internal("a call without a connection")),
    }
}
