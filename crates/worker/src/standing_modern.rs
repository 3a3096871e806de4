//! What modern upstreams say unasked, for a legacy client's standing stream.

use std::sync::Arc;

use bytes::Bytes;
use hexagram_core::Era;
use http::HeaderMap;
use tokio::sync::mpsc;

use crate::across;
use crate::filter::Filter;
use crate::gone::Gone;
use crate::host::Host;
use crate::raw::RawObject;
use crate::reopen::reopen;
use crate::rest::Pauses;
use crate::session::Session;
use crate::upstream::{Upstream, UpstreamError};
use crate::upstream_listen::{self, Heard, UpstreamSubscription};

/// A legacy client's changes from a modern upstream.
pub(crate) struct Changes<'a> {
    pub(crate) host: &'a Host,
    pub(crate) session: &'a Arc<Session>,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) client: &'a mpsc::Sender<Bytes>,
    pub(crate) pauses: Pauses,
}

impl Changes<'_> {
    /// Subscribes to what the client has subscribed to, again whenever that
    /// changes or the upstream is lost. Where that comes back as a legacy one, it
    /// is given the session in which its stream is read.
    pub(crate) async fn follow(self) {
        let upstream = &self.upstream;
        loop {
            upstream.settle().await;
            upstream.speaks(Era::Modern, Era::Legacy).await;
            let changed = self.session.subscriptions.changed();
            let resources = self.session.subscriptions.of(upstream.id());
            tokio::select! {
                () = changed => continue,
                heard = self.hear(resources) => match heard {
                    Ok(()) => {}
                    Err(Gone) => return,
                },
            }
            self.pauses.rest(upstream).await;
            upstream.settle().await;
            if !upstream.is_stateless_in(Era::Legacy) {
                reopen(self.session, upstream, Era::Legacy, &self.pauses).await;
            }
        }
    }

    async fn hear(&self, resources: Vec<String>) -> Result<(), Gone> {
        let (id, missed) = (self.upstream.id(), &self.session.missed);
        let mut listening = match self.open(resources).await {
            Ok(listening) => listening,
            Err(error) => {
                tracing::debug!(upstream = self.upstream.name(), %error, "no subscription");
                // There was one: another server may be there now.
                if missed.is_due(id) {
                    self.upstream.doubt_after(&error);
                }
                self.upstream.failed_stream(&error);
                return Ok(());
            }
        };
        let _living = self.pauses.living();
        self.upstream.answered();
        if missed.take(id) {
            for hint in listening.agreed.hints() {
                self.tell(hint).await?;
            }
        }
        while let Heard::Message(message) = listening.next().await {
            self.upstream.heard(&message);
            if listening.agreed.admits(&message) {
                self.tell(untagged(message)).await?;
            }
        }
        missed.note(id);
        Ok(())
    }

    async fn tell(&self, message: Bytes) -> Result<(), Gone> {
        let message = self.host.federation().present(&self.upstream, message);
        self.client.send(message).await.map_err(|_| Gone)
    }

    async fn open(&self, resources: Vec<String>) -> Result<UpstreamSubscription, UpstreamError> {
        let (facts, upstream) = (&self.session.facts, &self.upstream);
        let connection = upstream.open_stateless(facts, HeaderMap::new())?;
        let filter = Filter::all(resources).told_by(upstream);
        upstream_listen::open(Arc::new(connection), &across::meta(facts), &filter).await
    }
}

/// The notification without the id of our subscription.
fn untagged(message: Bytes) -> Bytes {
    let Some(mut object) = RawObject::parse(&message) else {
        return message;
    };
    object.edit("params", |params| params.remove("_meta"));
    serde_json::to_vec(&object).map_or(message, Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::tests::host;
    use crate::rest::tests::{NOBODY, is_left_alone};
    use crate::session::tests::session;
    use crate::upstream::fake::{introduce, upstream};

    #[tokio::test(start_paused = true)]
    async fn an_upstream_that_stays_away_is_asked_for_changes_by_nobody() {
        let (session, upstream) = (session(), upstream(NOBODY));
        introduce(&upstream, Era::Modern);
        let host = host(vec![Arc::clone(&upstream)]);
        let (client, _messages) = mpsc::channel(1);
        let changes = Changes {
            host: &host,
            session: &session,
            upstream: Arc::clone(&upstream),
            client: &client,
            pauses: Pauses::default(),
        };
        is_left_alone(&upstream, changes.follow()).await;
    }
}
