//! Asking a worker what it is, at an address where one is to be found.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::time::Duration;

use hexagram_core::{Incarnation, Owner, Setup, ShardCount};
use hexagram_proto::admin::admin_client::AdminClient;
use hexagram_proto::admin::{Report, WatchRequest};
use hexagram_proto::{WorkerAddress, explained, innermost};
use tokio::time::timeout;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::introduction::Introduction;

/// For a connection and the first report.
pub(crate) const PROBE: Duration = Duration::from_secs(1);

/// Why nobody introduced himself.
#[derive(Debug, thiserror::Error)]
pub enum VisitError {
    /// No report came.
    #[error(transparent)]
    Unheard(#[from] Unheard),
    /// Not within a second.
    #[error("no worker answers within {PROBE:?}")]
    Late,
    /// What answers has no name or no life.
    #[error("what answers there is no worker: it calls itself {0:?}")]
    Nameless(String),
}

/// Why a worker did not report.
#[derive(Debug, thiserror::Error)]
pub enum Unheard {
    /// Nobody listens there: its process is gone.
    #[error("nobody listens there: {}", innermost(.0))]
    Refused(tonic::transport::Error),
    /// It cannot be reached.
    #[error("it cannot be reached: {}", innermost(.0))]
    Unreached(tonic::transport::Error),
    /// It answers, and one side does not trust the other: it lives.
    #[error("it lives, but the links do not fit: {}", innermost(.0))]
    Mistrusted(tonic::transport::Error),
    /// It answers, but not with a report.
    #[error("it does not report: {}", .0.message())]
    Answered(Box<tonic::Status>),
    /// It ended its reports before the first.
    #[error("it ended before it reported")]
    Empty,
}

/// What a worker says of itself to who visits it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visited {
    /// Who it is.
    pub who: Introduction,
    /// Those of its keys that some of its edges lack.
    pub lacked: Vec<u64>,
}

/// Asks the worker at `address`, which others reach at `place`, to introduce itself.
///
/// # Errors
/// When none of `cluster` with so many `shards` does within a second.
pub async fn visit(
    address: &WorkerAddress,
    place: &str,
    cluster: &str,
    shards: ShardCount,
) -> Result<Visited, VisitError> {
    let asked = timeout(PROBE, reports(address, cluster, shards)).await;
    let (first, _) = asked.map_err(|_| VisitError::Late)??;
    match introduction(&first, place) {
        Some(who) => Ok(Visited {
            who,
            lacked: first.lacked,
        }),
        None => Err(VisitError::Nameless(first.name)),
    }
}

fn introduction(report: &Report, place: &str) -> Option<Introduction> {
    let owner = Owner {
        worker: report.name.parse().ok()?,
        incarnation: Incarnation::new(report.incarnation)?,
    };
    let setup = Setup {
        keys: report.keys.clone(),
        store: report.store.clone(),
    };
    Some(Introduction {
        owner,
        address: place.to_owned(),
        setup,
        again: report.joined,
    })
}

/// The first report of the worker at `address`, and those that follow.
pub(crate) async fn reports(
    address: &WorkerAddress,
    cluster: &str,
    shards: ShardCount,
) -> Result<(Report, Streaming<Report>), Unheard> {
    let request = WatchRequest {
        cluster: cluster.to_owned(),
        shards: u32::from(shards.get()),
    };
    let answered = reach(address).await?.watch(request).await;
    let mut reports = answered.map_err(answer)?.into_inner();
    let first = reports.message().await.map_err(answer)?;
    Ok((first.ok_or(Unheard::Empty)?, reports))
}

/// A way to ask the worker at `address`.
pub(crate) async fn reach(address: &WorkerAddress) -> Result<AdminClient<Channel>, Unheard> {
    let dialled = address.dial().await;
    dialled.map(AdminClient::new).map_err(unreached)
}

fn answer(status: tonic::Status) -> Unheard {
    Unheard::Answered(Box::new(explained(status)))
}

fn unreached(error: tonic::transport::Error) -> Unheard {
    match kind(&error) {
        // Somebody's kernel says that nobody listens.
        Some(ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset) => Unheard::Refused(error),
        // What links over TLS say of a peer that they have heard and do not trust.
        Some(ErrorKind::InvalidData) => Unheard::Mistrusted(error),
        _ => Unheard::Unreached(error),
    }
}

/// What the operating system, or a wire, says of a failed dial.
fn kind(error: &(dyn Error + 'static)) -> Option<ErrorKind> {
    let mut causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.find_map(|cause| cause.downcast_ref().map(io::Error::kind))
}

#[cfg(test)]
mod tests {
    use hexagram_proto::Connector;

    use super::*;

    /// What comes of a dial that fails so.
    async fn after(kind: ErrorKind) -> Unheard {
        let fails = move || async move { Err::<tokio::io::DuplexStream, _>(kind.into()) };
        let address = WorkerAddress::By(Connector::new("here".to_owned(), fails));
        let count = ShardCount::default();
        let Err(unheard) = reports(&address, "c", count).await else {
            panic!("it is reached");
        };
        unheard
    }

    #[tokio::test]
    async fn only_a_refused_connection_is_a_process_that_is_gone() {
        let refused = after(ErrorKind::ConnectionRefused).await;
        assert!(matches!(refused, Unheard::Refused(_)), "{refused}");
        let mistrusted = after(ErrorKind::InvalidData).await;
        assert!(matches!(mistrusted, Unheard::Mistrusted(_)), "{mistrusted}");
        let cut = after(ErrorKind::TimedOut).await;
        assert!(matches!(cut, Unheard::Unreached(_)), "{cut}");
    }

    #[test]
    fn only_a_worker_with_a_name_and_a_life_is_introduced() {
        let report = |name: &str, incarnation| Report {
            name: name.to_owned(),
            incarnation,
            keys: vec![7],
            joined: true,
            ..Report::default()
        };
        let known = introduction(&report("worker-0", 3), "10.0.0.1:7100").unwrap();
        assert_eq!(known.owner.to_string(), "worker-0/0000000000000003");
        assert_eq!(known.address, "10.0.0.1:7100");
        assert_eq!((known.setup.keys, known.again), (vec![7], true));
        assert!(introduction(&report("", 3), "h:1").is_none());
        assert!(introduction(&report("worker-0", 0), "h:1").is_none());
    }
}
