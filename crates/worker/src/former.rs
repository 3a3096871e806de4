//! A shard's old owner, as long as something that it admitted still runs there.

use std::collections::HashSet;

use bytes::Bytes;
use hexagram_core::{Epoch, Serial, SessionKey};
use hexagram_proto::WorkerAddress;
use hexagram_proto::handoff::handoff_client::HandoffClient;
use hexagram_proto::handoff::{self, Move, ShardState, StoredTails, TailMessage};
use hexagram_store::Change;
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::OnceCell;
use tonic::Status;
use tonic::transport::Channel;

/// The worker that granted a shard, and the sessions that still run there.
pub(crate) struct Former {
    named: Move,
    address: WorkerAddress,
    sessions: Mutex<HashSet<SessionKey>>,
    channel: OnceCell<HandoffClient<Channel>>,
}

impl Former {
    /// `None` where nothing runs on.
    pub(crate) fn of(
        state: &ShardState,
        named: Move,
        address: Option<WorkerAddress>,
    ) -> Option<Self> {
        let tails = state.tails.iter();
        let keys = tails.filter_map(|tail| key(tail.session.as_ref()?));
        let sessions: HashSet<_> = keys.collect();
        let address = address.filter(|_| !sessions.is_empty())?;
        Some(Self {
            named,
            address,
            sessions: Mutex::new(sessions),
            channel: OnceCell::new(),
        })
    }

    /// What has a later owner know of them.
    pub(crate) fn change(&self) -> Change {
        let sessions = self.sessions().into_iter().map(key_message);
        let stored = StoredTails {
            r#move: Some(self.named.clone()),
            sessions: sessions.collect(),
        };
        Change::Tails(stored.encode_to_vec().into())
    }

    /// The sessions of which something may still run there.
    pub(crate) fn sessions(&self) -> Vec<SessionKey> {
        self.sessions.lock().iter().copied().collect()
    }

    /// Whether something of this session may still run there.
    pub(crate) fn knows(&self, session: SessionKey) -> bool {
        self.sessions.lock().contains(&session)
    }

    /// Nothing of this session runs there any more, or it cannot be told.
    pub(crate) fn ended(&self, session: SessionKey) {
        self.sessions.lock().remove(&session);
    }

    /// Tells the old owner what a client has sent; empty: the session is over.
    /// Gives whether anything of it still runs there.
    pub(crate) async fn tell(&self, session: SessionKey, body: Bytes) -> Result<bool, Status> {
        let channel = self.channel.get_or_try_init(|| self.dial()).await?;
        let message = TailMessage {
            r#move: Some(self.named.clone()),
            session: Some(key_message(session)),
            body,
        };
        let told = channel.clone().forward(message).await?;
        Ok(told.into_inner().running)
    }

    async fn dial(&self) -> Result<HandoffClient<Channel>, Status> {
        let dialled = self.address.dial().await;
        let channel = dialled.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(HandoffClient::new(channel))
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
