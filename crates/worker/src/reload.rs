//! Other upstreams in a running worker (ADR 0010).

use std::sync::Arc;
use std::time::Duration;

use crate::Worker;
use crate::federation::{Federation, FederationError};
use crate::host::Host;
use crate::upstream::Upstream;

/// What a change of the upstreams did. One that has another target now is in both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replaced {
    /// Names of those that came.
    pub added: Vec<String>,
    /// Names of those that went.
    pub removed: Vec<String>,
}

impl Worker {
    /// Serves `upstreams` from now on and tells the clients so. Whoever uses one
    /// that is served before and after notices nothing. One that is not among
    /// them gets no new work; its sessions end with its last call, at the latest
    /// when the drain's grace is over.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`FederationError`] when the upstreams do not go together; those before
    /// are served on.
    pub fn serve_upstreams(
        &self,
        upstreams: Vec<Arc<Upstream>>,
    ) -> Result<Replaced, FederationError> {
        let before = self.host.federation();
        let added = missing(&upstreams, before.all());
        let removed = missing(before.all(), &upstreams);
        let federation = Federation::new(upstreams, &self.host.metrics)?;
        if federation.all().is_empty() && !removed.is_empty() {
            tracing::warn!("no upstream is left: clients see empty lists until one comes");
        }
        if !added.is_empty() || !removed.is_empty() {
            self.host.federate(federation);
        }
        for upstream in &removed {
            upstream.retire();
            let (host, upstream) = (Arc::clone(&self.host), Arc::clone(upstream));
            tokio::spawn(leave(host, upstream, self.drain.grace()));
        }
        Ok(Replaced {
            added: names(&added),
            removed: names(&removed),
        })
    }
}

/// Ends the sessions with an upstream once its last call is over.
async fn leave(host: Arc<Host>, upstream: Arc<Upstream>, grace: Duration) {
    if tokio::time::timeout(grace, upstream.unused())
        .await
        .is_err()
    {
        tracing::warn!(
            upstream = upstream.name(),
            "grace is over, ending its calls"
        );
    }
    host.leave(&upstream).await;
}

/// Those of `all` that are not in `others`.
fn missing(all: &[Arc<Upstream>], others: &[Arc<Upstream>]) -> Vec<Arc<Upstream>> {
    let is_there = |upstream: &Upstream| others.iter().any(|other| other.id() == upstream.id());
    let missing = all.iter().filter(|upstream| !is_there(upstream));
    missing.cloned().collect()
}

fn names(upstreams: &[Arc<Upstream>]) -> Vec<String> {
    let names = upstreams.iter().map(|upstream| upstream.name().to_owned());
    names.collect()
}
