//! Upstreams that do not answer are asked again now and then, as long as no client does:
//! people who look at one that is mended see that it is.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::host::Host;
use crate::upstream::Upstream;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(5);
/// One that nobody has tried for so long is asked.
const QUIET: Duration = Duration::from_secs(15);

/// Does so until it is dropped.
pub(crate) async fn revisit(host: Arc<Host>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let federation = host.federation();
        let down = federation.all().iter();
        let down = down.filter(|upstream| upstream.is_forsaken(QUIET));
        join_all(down.map(ask)).await;
    }
}

async fn ask(upstream: &Arc<Upstream>) {
    match upstream.visit(true).await {
        Ok(_) => tracing::info!(upstream = upstream.name(), "upstream reachable again"),
        Err(error) => {
            tracing::debug!(upstream = upstream.name(), %error, "upstream still not reachable");
        }
    }
}
