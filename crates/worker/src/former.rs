//! A shard's old owner, as long as something that it admitted still runs there.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use hexagram_core::{Epoch, Serial, SessionKey};
use hexagram_proto::WorkerAddress;
use hexagram_proto::handoff::{self, Move, ShardState, StoredTails, TailMessage, TailQuery};
use hexagram_store::Change;
use parking_lot::Mutex;
use prost::Message;
use tonic::Status;

use crate::neighbour::Neighbour;

/// The worker that granted a shard, and the sessions that still run there.
pub(crate) struct Former {
    neighbour: Neighbour,
    sessions: Mutex<HashSet<SessionKey>>,
    // Questions in a row that it did not answer.
    silences: AtomicU32,
}

/// An old owner that leaves so many questions in a row without an answer is lost.
const SILENCES: u32 = 3;

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
            neighbour: Neighbour::new(named, address),
            sessions: Mutex::new(sessions),
            silences: AtomicU32::new(0),
        })
    }

    /// What has a later owner know of them.
    pub(crate) fn change(&self) -> Change {
        let sessions = self.sessions().into_iter().map(key_message);
        let stored = StoredTails {
            r#move: Some(self.neighbour.named.clone()),
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

    /// It does not answer. Who does so for long is lost, and with it what ran there.
    pub(crate) fn stays_silent(&self) {
        if self.silences.fetch_add(1, Ordering::Relaxed) + 1 >= SILENCES {
            self.sessions.lock().clear();
        }
    }

    /// It answers.
    pub(crate) fn answered(&self) {
        self.silences.store(0, Ordering::Relaxed);
    }

    /// Tells the old owner what a client has sent; empty: the session is over.
    /// Gives whether anything of it still runs there.
    pub(crate) async fn tell(&self, session: SessionKey, body: Bytes) -> Result<bool, Status> {
        let message = TailMessage {
            r#move: Some(self.neighbour.named.clone()),
            session: Some(key_message(session)),
            body,
        };
        let told = self.neighbour.client().await?.forward(message).await?;
        Ok(told.into_inner().running)
    }

    /// Whether anything of the session still runs there.
    ///
    /// # Errors
    /// Where the old owner is out of reach.
    pub(crate) async fn runs(&self, session: SessionKey) -> Result<bool, Status> {
        let query = TailQuery {
            r#move: Some(self.neighbour.named.clone()),
            session: Some(key_message(session)),
        };
        let told = self.neighbour.client().await?.runs(query).await?;
        Ok(told.into_inner().running)
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
