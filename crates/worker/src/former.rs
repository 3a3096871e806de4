//! A shard's old owner, as long as something that it admitted still runs there.

use std::collections::HashSet;

use bytes::Bytes;
use hexagram_core::{Epoch, Serial, SessionKey};
use hexagram_proto::WorkerAddress;
use hexagram_proto::handoff::handoff_client::HandoffClient;
use hexagram_proto::handoff::{self, Move, ShardState, TailMessage};
use tonic::Status;
use tonic::transport::Channel;

/// The worker that granted a shard, and the sessions that still run there.
pub(crate) struct Former {
    named: Move,
    address: WorkerAddress,
    sessions: HashSet<SessionKey>,
    channel: Option<HandoffClient<Channel>>,
}

impl Former {
    /// `None` where nothing runs on.
    pub(crate) fn of(
        state: &ShardState,
        named: Move,
        address: Option<WorkerAddress>,
    ) -> Option<Self> {
        let keys = state
            .tails
            .iter()
            .filter_map(|tail| key(tail.session.as_ref()?));
        let sessions: HashSet<_> = keys.collect();
        Some(Self {
            named,
            address: address?,
            sessions,
            channel: None,
        })
        .filter(|former| !former.sessions.is_empty())
    }

    /// Whether something of this session may still run there.
    pub(crate) fn knows(&self, session: SessionKey) -> bool {
        self.sessions.contains(&session)
    }

    /// Nothing of this session runs there any more.
    pub(crate) fn ended(&mut self, session: SessionKey) {
        self.sessions.remove(&session);
    }

    /// Tells the old owner what a client has sent; empty: the session is over.
    pub(crate) async fn tell(
        mut self,
        session: SessionKey,
        body: Bytes,
    ) -> Result<(Self, bool), Status> {
        let mut channel = match self.channel.take() {
            Some(channel) => channel,
            None => {
                let dialled = self.address.dial().await;
                HandoffClient::new(dialled.map_err(|error| Status::unavailable(error.to_string()))?)
            }
        };
        let message = TailMessage {
            r#move: Some(self.named.clone()),
            session: Some(key_message(session)),
            body,
        };
        let running = channel.forward(message).await?.into_inner().running;
        self.channel = Some(channel);
        Ok((self, running))
    }
}

/// A session's key as messages carry it.
pub(crate) fn key_message(key: SessionKey) -> handoff::SessionKey {
    handoff::SessionKey {
        epoch: key.epoch.get(),
        serial: key.serial.get(),
    }
}

/// The key that a message carries.
pub(crate) fn key(message: &handoff::SessionKey) -> Option<SessionKey> {
    Some(SessionKey {
        epoch: Epoch::new(message.epoch)?,
        serial: Serial::new(message.serial),
    })
}
