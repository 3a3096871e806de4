//! Following every upstream for as long as it is served.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::host::Host;
use crate::upstream::Upstream;

/// Runs `follow` for every upstream, also for those that come later, until it
/// ends by itself or the upstream is served no more. Ends with the last.
pub(crate) async fn each<F>(host: &Host, follow: impl Fn(Arc<Upstream>) -> F)
where
    F: Future<Output = ()>,
{
    let mut federations = host.federations();
    let mut known = HashSet::new();
    let mut running = FuturesUnordered::new();
    loop {
        let federation = Arc::clone(&federations.borrow_and_update());
        let new = federation.all().iter();
        let new = new.filter(|upstream| known.insert(upstream.id()));
        running.extend(new.map(|upstream| while_served(Arc::clone(upstream), &follow)));
        drop(federation);
        tokio::select! {
            biased;
            // The host outlives its exchanges, so this never fails.
            _ = federations.changed() => {}
            ended = running.next() => if ended.is_none() {
                return;
            }
        }
    }
}

async fn while_served<F>(upstream: Arc<Upstream>, follow: &impl Fn(Arc<Upstream>) -> F)
where
    F: Future<Output = ()>,
{
    tokio::select! {
        () = follow(Arc::clone(&upstream)) => {}
        () = upstream.retired() => {}
    }
}
