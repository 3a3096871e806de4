//! Upstream sessions of clients that only listen: nobody else would open them
//! again.

use std::sync::Arc;
use std::time::Duration;

use hexagram_core::Era;
use hexagram_runtime::random::jittered;

use crate::pause::next_pause;
use crate::session::Session;
use crate::upstream::Upstream;

/// Opens the upstream session of a client of era `client`, until it is open or
/// there is no use in it: the upstream needs none, or is served no more.
pub(crate) async fn reopen(
    session: &Arc<Session>,
    upstream: &Arc<Upstream>,
    client: Era,
    mut pause: Duration,
) {
    while let Err(error) = session.connection(upstream).await {
        tracing::debug!(upstream = upstream.name(), %error, "upstream session not renewed");
        if upstream.is_retired() {
            return;
        }
        tokio::time::sleep(jittered(pause)).await;
        pause = next_pause(pause, Duration::ZERO);
        upstream.settle().await;
        if upstream.is_stateless_in(client) {
            return;
        }
    }
}
