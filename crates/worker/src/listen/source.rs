//! One upstream's part of a subscription.

use std::sync::Arc;

use bytes::Bytes;
use hexagram_core::Era;
use hexagram_mcp::error::Problem;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;

use crate::filter::Filter;
use crate::forward::{Attempt, Forward};
use crate::gone::Gone;
use crate::hearing;
use crate::raw::{RawObject, error_code};
use crate::rest::Pauses;
use crate::session::Session;
use crate::standing;
use crate::upstream::requests;
use crate::upstream::{Upstream, UpstreamError, UpstreamId};
use crate::upstream_listen::{self, Heard, UpstreamSubscription};

/// JSON-RPC.
const METHOD_NOT_FOUND: i64 = -32601;

/// What an upstream's part of a subscription says.
#[derive(Debug)]
pub(super) enum Event {
    /// It tells of these changes.
    Agreed(Filter),
    /// It tells of these again, or after all.
    Back(Filter),
    /// It tells of nothing, for this reason.
    Refused(Problem),
    /// A notification, named as clients see it.
    Message(Bytes),
}

/// One upstream as a source of events.
pub(super) struct Source<'a> {
    pub(super) forward: &'a Forward<'a>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) filter: Filter,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) pauses: Pauses,
}

impl Source<'_> {
    /// Tells events until the client is gone. An upstream that is lost, refuses or
    /// ends the subscription in its own form is listened to again, in the era that it
    /// speaks then: it may be restarting, and the client listens to others too.
    pub(super) async fn follow(self) {
        let mut again = false;
        while self.listen(again).await.is_ok() {
            again = true;
            self.pauses.rest(&self.upstream).await;
        }
    }

    /// Tells events for as long as the upstream is heard.
    async fn listen(&self, again: bool) -> Result<(), Gone> {
        let attempt = self.forward.attempt(&self.upstream, None).await;
        match attempt.era {
            Era::Modern => self.listen_modern(&attempt, again).await,
            Era::Legacy => self.listen_legacy(again).await,
        }
    }

    /// The upstream is heard from now on, with hints of what may have been missed.
    async fn begin(&self, agreed: Filter, again: bool) -> Result<(), Gone> {
        if !again {
            return self.tell(Event::Agreed(agreed)).await;
        }
        self.upstream.forget_lists();
        let hints = agreed.hints();
        self.tell(Event::Back(agreed)).await?;
        for hint in hints {
            self.tell_message(hint).await?;
        }
        Ok(())
    }

    /// The client learns why it is not heard, the first time.
    async fn failed(&self, error: &UpstreamError, again: bool) -> Result<(), Gone> {
        if knows_no_subscriptions(error) {
            return self.is_silent(error, again).await;
        }
        if again {
            tracing::debug!(%error, "a subscription was not renewed");
            self.upstream.doubt_after(error);
            self.upstream.failed_stream(error);
            return Ok(());
        }
        let problem = self.forward.problem(&self.upstream, error, false);
        self.tell(Event::Refused(problem)).await
    }

    /// It tells of nothing, but others do, and it may once it speaks the other era.
    async fn is_silent(&self, error: &UpstreamError, again: bool) -> Result<(), Gone> {
        if again {
            self.upstream.doubt_after(error);
            self.upstream.settle().await;
        } else {
            self.tell(Event::Agreed(Filter::default())).await?;
        }
        self.upstream.speaks(Era::Legacy, Era::Modern).await;
        Ok(())
    }

    async fn tell(&self, event: Event) -> Result<(), Gone> {
        self.events.send(event).await.map_err(|_| Gone)
    }

    async fn tell_message(&self, message: Bytes) -> Result<(), Gone> {
        let federation = self.forward.host.federation();
        let message = federation.present(&self.upstream, message);
        self.tell(Event::Message(message)).await
    }

    /// Subscribes as the client did.
    async fn listen_modern(&self, attempt: &Attempt<'_>, again: bool) -> Result<(), Gone> {
        let mut listening = match self.open(attempt).await {
            Ok(listening) => listening,
            Err(error) => return self.failed(&error, again).await,
        };
        let _living = self.pauses.living();
        self.upstream.answered();
        self.begin(listening.agreed.clone(), again).await?;
        self.relay(&mut listening).await
    }

    async fn open(&self, attempt: &Attempt<'_>) -> Result<UpstreamSubscription, UpstreamError> {
        let connection = self.forward.connection(attempt).await?;
        let params = self.forward.envelope.params.and_then(RawObject::parse);
        let meta = params.as_ref().and_then(|params| params.get("_meta"));
        let meta = meta.map_or("{}", |meta| meta.get());
        upstream_listen::open(connection, meta, &self.filter).await
    }

    async fn relay(&self, listening: &mut UpstreamSubscription) -> Result<(), Gone> {
        loop {
            match listening.next().await {
                Heard::Message(message) => {
                    self.upstream.heard(&message);
                    self.tell_message(message).await?;
                }
                Heard::Completed => return Ok(()),
                Heard::Lost(error) => {
                    tracing::debug!(%error, "an upstream's subscription broke");
                    return Ok(());
                }
            }
        }
    }

    /// Subscribes in the upstream's own way, within the client's bridge.
    async fn listen_legacy(&self, again: bool) -> Result<(), Gone> {
        let session = self.forward.session;
        if let Err(error) = session.connection(&self.upstream).await {
            return self.failed(&error, again).await;
        }
        let agreed = self.filter.clone().told_by(&self.upstream);
        let hearing = standing::hearing(self.forward.host, session);
        let mut heard = hearing.subscribe();
        let _subscribed = self.subscribe(agreed.resources()).await;
        let _living = self.pauses.living();
        self.begin(agreed, again).await?;
        tokio::select! {
            end = self.relay_heard(&mut heard) => end,
            () = self.upstream.speaks(Era::Modern, Era::Modern) => Ok(()),
        }
    }

    /// Asks for every resource; what was asked is taken back in the end.
    async fn subscribe(&self, resources: &[String]) -> Subscribed {
        let (session, upstream) = (self.forward.session, self.upstream.id());
        let is_new = |uri: &&String| session.subscriptions.add(upstream, uri);
        let new = resources.iter().filter(is_new).cloned().collect();
        // Dropped on the way, it takes back what was asked so far.
        let subscribed = Subscribed {
            session: Arc::clone(session),
            upstream,
            resources: resources.to_vec(),
        };
        // Whatever became of it, the upstream is heard.
        let _ = tell_wishes(session, upstream, new).await;
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
                        self.tell_message(hint).await?;
                    }
                }
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            }
        }
    }
}

fn knows_no_subscriptions(error: &UpstreamError) -> bool {
    matches!(error, UpstreamError::Answered(body) if error_code(body) == Some(METHOD_NOT_FOUND))
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
        let resources = std::mem::take(&mut self.resources);
        tell_wishes(&self.session, self.upstream, resources);
    }
}

/// Tells the upstream session which of these resources are wanted now. In a task
/// of its own: a request that is cut off may still be heard, after a later one.
fn tell_wishes(
    session: &Arc<Session>,
    upstream: UpstreamId,
    resources: Vec<String>,
) -> JoinHandle<()> {
    let session = Arc::clone(session);
    tokio::spawn(async move {
        for uri in &resources {
            let ask = |is_wanted| ask(&session, upstream, uri, is_wanted);
            session.subscriptions.tell(upstream, uri, ask).await;
        }
    })
}

async fn ask(session: &Session, upstream: UpstreamId, uri: &str, is_wanted: bool) {
    let Some(connection) = session.open_connection(upstream) else {
        return;
    };
    let request = match is_wanted {
        true => requests::subscribe(uri),
        false => requests::unsubscribe(uri),
    };
    if let Err(error) = request.ask(&connection).await {
        tracing::debug!(%error, uri, is_wanted, "an upstream did not take a subscription");
    }
}
