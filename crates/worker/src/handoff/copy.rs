//! What a shard's sessions have said lately, sent to the taker before anything is frozen
//! (DESIGN 7, step 2): it is most of a full shard's state and never changes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hexagram_core::SessionKey;
use hexagram_proto::handoff::{Move, Said, SessionState, ShardState};
use prost::Message;
use tonic::{Code, Status};

use super::taker::{Taker, parts};
use crate::former::{key, key_message};
use crate::shard::Shard;

/// What takes less is sent with the grant, in bytes: it is there before a second message
/// would be.
const WORTH: usize = 256 << 10;
/// What is not there by then is sent with the grant.
const COPIED: Duration = Duration::from_secs(5);

/// Messages that the taker has, by session and event id.
#[derive(Debug, Default)]
pub(super) struct Copied(HashMap<SessionKey, HashSet<String>>);

/// Messages that a giver has sent before its grant.
#[derive(Debug, Default)]
pub(super) struct Copies(HashMap<(SessionKey, String), Bytes>);

/// Sends what `shard` has said so far; gives what the taker has of it.
///
/// # Errors
/// Where the taker is gone. One that takes too long, or is of the release before and
/// takes no copies, is given all with the grant.
pub(super) async fn copy(taker: &mut Taker, meant: &Move, shard: &Shard) -> Result<Copied, Status> {
    let said = said(shard);
    let messages = said.iter().flat_map(|(_, said)| said);
    if messages.map(|said| said.message.len()).sum::<usize>() < WORTH {
        return Ok(Copied::default());
    }
    let ids = |said: &[Said]| said.iter().map(|said| said.event_id.clone()).collect();
    let copied = said.iter().map(|(key, said)| (*key, ids(said))).collect();
    let state = ShardState {
        sessions: said.into_iter().map(session).collect(),
        ..ShardState::default()
    };
    let parts = futures_util::stream::iter(parts(meant, &state.encode_to_vec()));
    match tokio::time::timeout(COPIED, taker.copy(parts)).await {
        Ok(Ok(_)) => Ok(Copied(copied)),
        Ok(Err(error)) if error.code() != Code::Unimplemented => Err(error),
        _ => Ok(Copied::default()),
    }
}

fn said(shard: &Shard) -> Vec<(SessionKey, Vec<Said>)> {
    let sessions: Vec<_> = shard.read(|table| {
        let sessions = table.sessions.iter();
        sessions
            .map(|(key, session)| (*key, Arc::clone(session)))
            .collect()
    });
    // Without the lock: clients go on meanwhile.
    let said = sessions
        .into_iter()
        .map(|(key, session)| (key, session.streams.said()));
    said.filter(|(_, said)| !said.is_empty()).collect()
}

fn session((key, said): (SessionKey, Vec<Said>)) -> SessionState {
    SessionState {
        key: Some(key_message(key)),
        said,
        ..SessionState::default()
    }
}

impl Copied {
    /// The state without what the taker has.
    pub(super) fn spared(&self, mut state: ShardState) -> ShardState {
        for session in &mut state.sessions {
            let key = session.key.as_ref().and_then(key);
            let ids = key.and_then(|key| self.0.get(&key));
            let has = |said: &&mut Said| ids.is_some_and(|ids| ids.contains(&said.event_id));
            for said in session.said.iter_mut().filter(has) {
                said.message = Bytes::new();
                said.copied = true;
            }
        }
        state
    }
}

impl Copies {
    /// What the giver has sent.
    pub(super) fn of(state: ShardState) -> Self {
        let sessions = state.sessions.into_iter();
        let keyed = sessions.filter_map(|state| Some((key(state.key.as_ref()?)?, state.said)));
        let messages = keyed.flat_map(|(key, said)| {
            said.into_iter()
                .map(move |said| ((key, said.event_id), said.message))
        });
        Self(messages.collect())
    }

    /// Puts into a grant's state what was left out of it; `None` where some of that is
    /// not here.
    pub(super) fn fill(&self, mut state: ShardState) -> Option<ShardState> {
        for session in &mut state.sessions {
            let key = session.key.as_ref().and_then(key);
            for said in session.said.iter_mut().filter(|said| said.copied) {
                let id = (key?, said.event_id.clone());
                said.message = self.0.get(&id)?.clone();
            }
        }
        Some(state)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use hexagram_core::{Epoch, Serial};

    use super::*;

    fn one(text: &'static str) -> Said {
        Said {
            event_id: format!("id of {text}"),
            message: Bytes::from_static(text.as_bytes()),
            ..Said::default()
        }
    }

    #[test]
    fn what_was_copied_is_put_in_its_place_again() {
        let key = SessionKey {
            epoch: Epoch::FIRST,
            serial: Serial::new(3),
        };
        let state = |said: &[Said]| ShardState {
            sessions: vec![session((key, said.to_vec()))],
            ..ShardState::default()
        };
        let before = [one("a"), one("b"), one("c")];
        // "a" was pushed out since, "d" is new.
        let after = [one("b"), one("c"), one("d")];
        let ids = before.iter().map(|said| said.event_id.clone()).collect();
        let granted = Copied([(key, ids)].into()).spared(state(&after));
        let bytes = |state: &ShardState| -> usize {
            let said = state.sessions[0].said.iter();
            said.map(|said| said.message.len()).sum()
        };
        assert_eq!(bytes(&granted), 1, "only the new one is sent");
        let filled = Copies::of(state(&before)).fill(granted).unwrap();
        let found: Vec<_> = filled.sessions[0]
            .said
            .iter()
            .map(|said| said.message.clone())
            .collect();
        assert_eq!(found, ["b", "c", "d"]);
        let lost = state(&[Said {
            copied: true,
            ..one("e")
        }]);
        assert!(Copies::default().fill(lost).is_none());
    }
}
