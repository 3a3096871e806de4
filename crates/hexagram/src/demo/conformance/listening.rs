//! Changes on their way to clients: to the subscriptions of modern ones and
//! the sessions of legacy ones.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use rmcp::RoleServer;
use rmcp::model::ResourceUpdatedNotificationParam;
use rmcp::service::{Peer, ServiceError, SubscriptionContext, SubscriptionSendError};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::Conformance;
use hexagram_worker::{Change, Changes};

/// The changes for the subscription that this handler is about to serve.
#[derive(Default)]
pub(super) struct Listening(Mutex<Option<Receiver<Change>>>);

impl Listening {
    /// Listens before the client is told that we do, so that nothing that
    /// changes after it was told is missed.
    pub(super) fn begin(&self, changes: &Changes) {
        *self.0.lock() = Some(changes.subscribe());
    }
}

/// The resources that a legacy session subscribed to.
#[derive(Default, Clone)]
pub(super) struct Watched(Arc<Mutex<HashSet<String>>>);

impl Watched {
    pub(super) fn add(&self, uri: String) {
        self.0.lock().insert(uri);
    }

    pub(super) fn remove(&self, uri: &str) {
        self.0.lock().remove(uri);
    }

    pub(super) fn contains(&self, uri: &str) -> bool {
        self.0.lock().contains(uri)
    }
}

impl Conformance {
    /// Tells the subscription of all changes until the client is gone.
    pub(super) async fn tell_subscription(&self, context: &SubscriptionContext) {
        let begun = self.listening.0.lock().take();
        let mut changes = begun.unwrap_or_else(|| self.shared.changes.subscribe());
        loop {
            let change = tokio::select! {
                change = next(&mut changes) => change,
                () = context.cancelled() => return,
            };
            let Some(change) = change else { return };
            if let Err(SubscriptionSendError::SubscriptionClosed) = send(context, change).await {
                return;
            }
        }
    }

    /// Tells the session of all changes until it ends.
    pub(super) fn tell_session(&self, peer: Peer<RoleServer>) {
        let mut changes = self.shared.changes.subscribe();
        let watched = self.watched.clone();
        tokio::spawn(async move {
            while let Some(change) = next(&mut changes).await {
                if notify(&peer, &watched, change).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// The next change; `None` when there will be none any more.
async fn next(changes: &mut Receiver<Change>) -> Option<Change> {
    loop {
        match changes.recv().await {
            Ok(change) => return Some(change),
            Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "a listener is too slow"),
            Err(RecvError::Closed) => return None,
        }
    }
}

/// A change that the client did not ask for is an error that nobody minds.
async fn send(context: &SubscriptionContext, change: Change) -> Result<(), SubscriptionSendError> {
    let sink = context.sink();
    match change {
        Change::Tools => sink.notify_tool_list_changed().await,
        Change::Prompts => sink.notify_prompt_list_changed().await,
        Change::Resources => sink.notify_resource_list_changed().await,
        Change::Resource(uri) => sink.notify_resource_updated(uri).await,
    }
}

async fn notify(
    peer: &Peer<RoleServer>,
    watched: &Watched,
    change: Change,
) -> Result<(), ServiceError> {
    match change {
        Change::Tools => peer.notify_tool_list_changed().await,
        Change::Prompts => peer.notify_prompt_list_changed().await,
        Change::Resources => peer.notify_resource_list_changed().await,
        Change::Resource(uri) if watched.contains(&uri) => {
            let update = ResourceUpdatedNotificationParam::new(uri);
            peer.notify_resource_updated(update).await
        }
        Change::Resource(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_listener_goes_on_with_what_is_left() {
        let changes = Changes::new();
        let mut receiver = changes.subscribe();
        for number in 0..1000 {
            changes.announce(Change::Resource(number.to_string()));
        }
        changes.announce(Change::Tools);
        drop(changes);
        let mut last = None;
        while let Some(change) = next(&mut receiver).await {
            last = Some(change);
        }
        assert_eq!(last, Some(Change::Tools));
    }

    #[test]
    fn a_listener_hears_what_came_before_it_listened() {
        let changes = Changes::new();
        let listening = Listening::default();
        listening.begin(&changes);
        changes.announce(Change::Prompts);
        let heard = listening.0.lock().take().map(|mut begun| begun.try_recv());
        assert_eq!(heard, Some(Ok(Change::Prompts)));
    }
}
