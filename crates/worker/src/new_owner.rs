//! A shard's new owner, for what still runs at the old one.

use std::sync::Arc;

use hexagram_core::{EventId, SessionKey};
use hexagram_proto::handoff::{LastWords, Said};
use tokio::sync::watch;
use tonic::Status;

use crate::former::key_message;
use crate::neighbour::Neighbour;

/// Whom a shard was given to.
pub(crate) struct NewOwner(watch::Sender<State>);

enum State {
    /// It is served here.
    Nobody,
    /// It is granted; whether it is taken is not known yet.
    Awaited,
    /// It is taken; `None`: by whom cannot be reached.
    Known(Option<Arc<Neighbour>>),
}

impl Default for NewOwner {
    fn default() -> Self {
        Self(watch::Sender::new(State::Nobody))
    }
}

impl NewOwner {
    /// The shard is granted.
    pub(crate) fn awaited(&self) {
        self.0.send_replace(State::Awaited);
    }

    /// It is served here on.
    pub(crate) fn nobody(&self) {
        self.0.send_replace(State::Nobody);
    }

    /// The shard is taken, by whom may be out of reach.
    pub(crate) fn known(&self, neighbour: Option<Neighbour>) {
        self.0.send_replace(State::Known(neighbour.map(Arc::new)));
    }

    /// Whether the shard was given away.
    pub(crate) fn is_there(&self) -> bool {
        !matches!(*self.0.borrow(), State::Nobody)
    }

    /// Has the new owner keep the last message of a call that ran on here.
    ///
    /// # Errors
    /// Where it is out of reach, or knows no such session.
    pub(crate) async fn hear(
        &self,
        session: SessionKey,
        id: EventId,
        message: bytes::Bytes,
    ) -> Result<(), Status> {
        let neighbour = self.found().await?;
        let words = LastWords {
            r#move: Some(neighbour.named.clone()),
            session: Some(key_message(session)),
            said: Some(Said {
                event_id: id.to_string(),
                message,
                last: true,
                ..Said::default()
            }),
        };
        neighbour.client().await?.conclude(words).await?;
        Ok(())
    }

    async fn found(&self) -> Result<Arc<Neighbour>, Status> {
        let mut state = self.0.subscribe();
        let known = state.wait_for(|state| matches!(state, State::Known(_)));
        let known = known
            .await
            .map_err(|_| Status::unavailable("it is nobody's"))?;
        match &*known {
            State::Known(Some(neighbour)) => Ok(Arc::clone(neighbour)),
            _ => Err(Status::unavailable("its address is not known")),
        }
    }
}
