//! One upstream's part of a subscription.

use std::sync::Arc;

use bytes::Bytes;
use hexagram_core::Era;
use hexagram_mcp::error::Problem;
use hexagram_runtime::random::jittered;
use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;

use crate::filter::Filter;
use crate::forward::{Attempt, Forward};
use crate::hearing;
use crate::pause::{FIRST_REOPEN, next_pause};
use crate::raw::{RawObject, error_code};
use crate::session::Session;
use crate::standing;
use crate::upstream::requests;
use crate::upstream::{Connection, Upstream, UpstreamError, UpstreamId};
use crate::upstream_listen::{self, Heard, UpstreamSubscription};

/// JSON-RPC.
const METHOD_NOT_FOUND: i64 = -32601;

/// What an upstream's part of a subscription says.
#[derive(Debug)]
pub(super) enum Event {
    /// It tells of these changes.
    Agreed(Filter),
    /// It tells of nothing, for this reason.
    Refused(Problem),
    /// A notification, named as clients see it.
    Message(Bytes),
}

/// The client is gone: nobody takes events any more.
struct Gone;

/// One upstream as a source of events.
pub(super) struct Source<'a> {
    pub(super) forward: &'a Forward<'a>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) filter: Filter,
    pub(super) events: mpsc::Sender<Event>,
}

impl Source<'_> {
    /// Tells events until the upstream ends the subscription or the client is gone.
    pub(super) async fn follow(self) {
        let attempt = self.forward.attempt(&self.upstream, None).await;
        // The client being gone is an end like any other.
        let _ = match attempt.era {
            Era::Modern => self.follow_modern(&attempt).await,
            Era::Legacy => self.follow_legacy().await,
        };
    }

    async fn tell(&self, event: Event) -> Result<(), Gone> {
        self.events.send(event).await.map_err(|_| Gone)
    }

    async fn tell_message(&self, message: Bytes) -> Result<(), Gone> {
        let federation = self.forward.host.federation();
        let message = federation.present(&self.upstream, message);
        self.tell(Event::Message(message)).await
    }

    async fn refused(&self, error: &UpstreamError) -> Result<(), Gone> {
        if matches!(error, UpstreamError::Answered(body) if error_code(body) == Some(METHOD_NOT_FOUND))
        {
            // It tells of nothing, but others do.
            self.tell(Event::Agreed(Filter::default())).await?;
            return std::future::pending().await;
        }
        let problem = self.forward.problem(&self.upstream, error, false);
        self.tell(Event::Refused(problem)).await
    }

    /// Subscribes as the client did; again when the upstream is lost, with
    /// hints of what may have been missed.
    async fn follow_modern(&self, attempt: &Attempt<'_>) -> Result<(), Gone> {
        let mut listening = match self.open(attempt).await {
            Ok(listening) => listening,
            Err(error) => return self.refused(&error).await,
        };
        self.tell(Event::Agreed(listening.agreed.clone())).await?;
        let mut pause = FIRST_REOPEN;
        loop {
            let since = Instant::now();
            if self.relay(&mut listening).await? {
                return Ok(());
            }
            listening = loop {
                tokio::time::sleep(jittered(pause)).await;
                pause = next_pause(pause, since.elapsed());
                match self.open(attempt).await {
                    Ok(listening) => break listening,
                    Err(error) => tracing::debug!(%error, "a subscription was not renewed"),
                }
            };
            for hint in listening.agreed.hints() {
                self.tell_message(hint.to_string().into()).await?;
            }
        }
    }

    async fn open(&self, attempt: &Attempt<'_>) -> Result<UpstreamSubscription, UpstreamError> {
        let connection = self.forward.connection(attempt).await?;
        let params = self.forward.envelope.params.and_then(RawObject::parse);
        let meta = params.as_ref().and_then(|params| params.get("_meta"));
        let meta = meta.map_or("{}", |meta| meta.get());
        upstream_listen::open(connection, meta, &self.filter).await
    }

    /// Whether the upstream has ended the subscription in its own form.
    async fn relay(&self, listening: &mut UpstreamSubscription) -> Result<bool, Gone> {
        loop {
            match listening.next().await {
                Heard::Message(message) => self.tell_message(message).await?,
                Heard::Completed => return Ok(true),
                Heard::Lost(error) => {
                    tracing::debug!(%error, "an upstream's subscription broke");
                    return Ok(false);
                }
            }
        }
    }

    /// Subscribes in the upstream's own way, within the client's bridge.
    async fn follow_legacy(&self) -> Result<(), Gone> {
        let session = self.forward.session;
        let connection = match session.connection(&self.upstream).await {
            Ok(connection) => connection,
            Err(error) => return self.refused(&error).await,
        };
        let info = self.upstream.known_info();
        let known = info.map(|info| info.capabilities.clone());
        let agreed = self.filter.clone().supported_by(&known.unwrap_or_default());
        let hearing = standing::hearing(self.forward.host, session);
        let mut heard = hearing.subscribe();
        let _subscribed = self
            .subscribe(session, connection, agreed.resources())
            .await;
        self.tell(Event::Agreed(agreed)).await?;
        self.relay_heard(&mut heard).await
    }

    /// Asks for every resource; what was asked is taken back in the end.
    async fn subscribe(
        &self,
        session: &Arc<Session>,
        connection: Arc<Connection>,
        resources: &[String],
    ) -> Subscribed {
        // Dropped on the way, it takes back what was asked so far.
        let mut subscribed = Subscribed {
            session: Arc::clone(session),
            upstream: self.upstream.id(),
            resources: Vec::new(),
        };
        for uri in resources {
            subscribed.resources.push(uri.clone());
            if session.subscriptions.add(self.upstream.id(), uri)
                && let Err(error) = requests::subscribe(uri).ask(&connection).await
            {
                tracing::debug!(%error, "a resource was not subscribed to");
            }
        }
        subscribed
    }

    async fn relay_heard(
        &self,
        heard: &mut broadcast::Receiver<hearing::Heard>,
    ) -> Result<(), Gone> {
        loop {
            match heard.recv().await {
                Ok((of, message)) if of == self.upstream.id() => {
                    self.tell(Event::Message(message)).await?;
                }
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    for hint in self.filter.hints() {
                        self.tell_message(hint.to_string().into()).await?;
                    }
                }
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            }
        }
    }
}

/// Resources subscribed to; dropped, they are unsubscribed from.
struct Subscribed {
    session: Arc<Session>,
    upstream: UpstreamId,
    resources: Vec<String>,
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        let last = |uri: &String| self.session.subscriptions.remove(self.upstream, uri);
        self.resources.retain(last);
        let Some(connection) = self.session.open_connection(self.upstream) else {
            return;
        };
        let resources = std::mem::take(&mut self.resources);
        tokio::spawn(async move {
            for uri in resources {
                if let Err(error) = requests::unsubscribe(&uri).ask(&connection).await {
                    tracing::debug!(%error, "a resource was not unsubscribed from");
                }
            }
        });
    }
}
