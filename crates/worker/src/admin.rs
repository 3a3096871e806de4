//! What a worker tells its controller: what it holds, at each change and at
//! least once a second; and who has no controller: the map that it knows.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use hexagram_proto::admin::admin_server::Admin;
use hexagram_proto::admin::{KnownMap, MapRequest, Report, Upstreams, WatchRequest};
use hexagram_proto::map_message;
use hexagram_runtime::drain::Drain;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tonic::{Request, Response, Status};

use crate::busy;
use crate::handoff::Handoffs;
use crate::peer::{Peer, check};
use crate::sights::sights;

/// Longest silence; a controller takes three of them for a sign.
const SILENCE: Duration = Duration::from_secs(1);

/// Serves the controller; and without one, edges that start and workers that take over.
pub(crate) struct AdminService {
    pub(crate) handoffs: Arc<Handoffs>,
    pub(crate) cluster: String,
    /// Fires when this worker wants to end.
    pub(crate) draining: CancellationToken,
    /// Fires when it ends.
    pub(crate) done: CancellationToken,
    /// Counts who watches.
    pub(crate) watched: Drain,
}

#[tonic::async_trait]
impl Admin for AdminService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<Report, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        check(request.extensions(), Peer::Controller)?;
        let asked = request.get_ref();
        self.refuse_others(&asked.cluster, asked.shards)?;
        let reporter = Reporter {
            handoffs: Arc::clone(&self.handoffs),
            changes: self.handoffs.changes(),
            draining: self.draining.clone(),
            told: None,
            _watched: self.watched.hold(),
        };
        let reports = stream::unfold(reporter, |mut reporter| async {
            let report = reporter.next().await;
            Some((Ok(report), reporter))
        });
        let reports = reports.take_until(self.done.clone().cancelled_owned());
        Ok(Response::new(Box::pin(reports)))
    }

    /// Whoever is of the cluster may ask: an edge has nobody else while it has no map, nor
    /// has a worker that takes over what its last life owned.
    async fn map(&self, request: Request<MapRequest>) -> Result<Response<KnownMap>, Status> {
        let asked = request.get_ref();
        self.refuse_others(&asked.cluster, asked.shards)?;
        let known = self.handoffs.known();
        Ok(Response::new(
            known.as_ref().map(map_message).unwrap_or_default(),
        ))
    }
}

impl AdminService {
    fn refuse_others(&self, cluster: &str, shards: u32) -> Result<(), Status> {
        let ours = u32::from(self.handoffs.host.count().get());
        if cluster == self.cluster && shards == ours {
            return Ok(());
        }
        Err(Status::failed_precondition(format!(
            "this worker belongs to cluster {:?} with {ours} shards",
            self.cluster
        )))
    }
}

struct Reporter {
    handoffs: Arc<Handoffs>,
    changes: watch::Receiver<u64>,
    draining: CancellationToken,
    /// When it was told of the upstreams; none before the first report.
    told: Option<Instant>,
    _watched: TaskTrackerToken,
}

impl Reporter {
    async fn next(&mut self) -> Report {
        if self.told.is_some() {
            let was_draining = self.draining.is_cancelled();
            tokio::select! {
                _ = self.changes.changed() => {}
                () = self.draining.cancelled(), if !was_draining => {}
                () = tokio::time::sleep(SILENCE) => {}
            }
        }
        self.changes.mark_unchanged();
        let upstreams = self.upstreams();
        let me = &self.handoffs.me;
        let host = &self.handoffs.host;
        // Not those of the setup: the ring may be another one since.
        let keys = host.sealer.fingerprints();
        Report {
            name: me.worker.to_string(),
            incarnation: me.incarnation.get(),
            shards: self.handoffs.held(),
            draining: self.draining.is_cancelled(),
            capacity: busy::capacity(),
            lacked: host.edges.lacked(&keys),
            keys,
            store: self.handoffs.setup().store.clone(),
            joined: self.handoffs.has_joined(),
            upstreams,
        }
    }

    /// What is known of the upstreams, once a second: changes of shards may come in hundreds.
    fn upstreams(&mut self) -> Option<Upstreams> {
        if self.told.is_some_and(|at| at.elapsed() < SILENCE) {
            return None;
        }
        self.told = Some(Instant::now());
        let federation = self.handoffs.host.federation();
        let all = federation.all().iter();
        Some(sights(all.map(|one| (one.name(), one.health()))))
    }
}
