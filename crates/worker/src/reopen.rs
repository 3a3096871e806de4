//! Upstream sessions of clients that only listen: nobody else would open them
//! again.

use std::sync::Arc;

use hexagram_core::Era;

use crate::rest::Pauses;
use crate::session::Session;
use crate::upstream::Upstream;

/// Opens the upstream session of a client of era `client`, until it is open or
/// there is no use in it: the upstream needs none, or is served no more.
pub(crate) async fn reopen(
    session: &Arc<Session>,
    upstream: &Arc<Upstream>,
    client: Era,
    pauses: &Pauses,
) {
    while let Err(error) = session.connection(upstream).await {
        tracing::debug!(upstream = upstream.name(), %error, "upstream session not renewed");
        if upstream.is_retired() {
            return;
        }
        pauses.rest(upstream).await;
        upstream.settle().await;
        if upstream.is_stateless_in(client) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::tests::{NOBODY, is_left_alone};
    use crate::session::tests::session;
    use crate::upstream::fake::{introduce, upstream};

    #[tokio::test(start_paused = true)]
    async fn an_upstream_that_stays_away_is_asked_for_a_session_by_nobody() {
        let (session, upstream) = (session(), upstream(NOBODY));
        introduce(&upstream, Era::Legacy);
        let pauses = Pauses::default();
        let reopening = reopen(&session, &upstream, Era::Legacy, &pauses);
        is_left_alone(&upstream, reopening).await;
    }
}
