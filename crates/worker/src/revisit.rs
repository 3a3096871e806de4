//! Upstreams that do not answer are asked again now and then, as long as no client does:
//! people who look at one that is mended see that it is.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::host::Host;
use crate::upstream::Upstream;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(5);
/// One that nobody has tried for so long is asked.
const QUIET: Duration = Duration::from_secs(15);
/// One that does not answer holds the look at the others up no longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Does so until it is dropped.
pub(crate) async fn revisit(host: Arc<Host>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let federation = host.federation();
        let down = federation.all().iter();
        let down = down.filter(|upstream| upstream.is_to_be_revisited(QUIET));
        join_all(down.map(ask)).await;
    }
}

async fn ask(upstream: &Arc<Upstream>) {
    let name = upstream.name();
    match timeout(PATIENCE, upstream.visit(true)).await {
        Ok(Ok(_)) if upstream.health().reachable == Some(true) => {
            tracing::info!(upstream = name, "upstream reachable again");
        }
        // It was asked a moment ago, in vain.
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(upstream = name, %error, "upstream still not reachable"),
        Err(_) => tracing::debug!(upstream = name, "upstream does not answer yet"),
    }
}
