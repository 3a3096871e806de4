//! What a shard's sessions have said lately, sent to the taker before anything is frozen
//! (DESIGN 7, step 2): it is most of a full shard's state and never changes.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use hexagram_core::SessionKey;
use hexagram_proto::handoff::{Move, Said, SessionState, ShardState};
use prost::Message;

use super::give::{Taker, parts};
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
pub(super) async fn copy(taker: &mut Taker, meant: &Move, shard: &Shard) -> Copied {
    let said = said(shard);
    let messages = said.iter().flat_map(|(_, said)| said);
    if messages.map(|said| said.message.len()).sum::<usize>() < WORTH {
        return Copied::default();
    }
    let ids = |said: &[Said]| said.iter().map(|said| said.event_id.clone()).collect();
    let copied = said.iter().map(|(key, said)| (*key, ids(said))).collect();
    let state = ShardState {
        sessions: said.into_iter().map(session).collect(),
        ..ShardState::default()
    };
    let parts = futures_util::stream::iter(parts(meant, &state.encode_to_vec()));
    match tokio::time::timeout(COPIED, taker.copy(parts)).await {
        Ok(Ok(_)) => Copied(copied),
        failed => {
            // One of the release before does not know it.
            tracing::debug!(?failed, "all of a shard's state goes with its grant");
            Copied::default()
        }
    }
}

fn said(shard: &Shard) -> Vec<(SessionKey, Vec<Said>)> {
    shard.read(|table| {
        let sessions = table.sessions.iter();
        sessions
            .map(|(key, session)| (*key, session.streams.said()))
            .filter(|(_, said)| !said.is_empty())
            .collect()
    })
}

fn session((key, said): (SessionKey, Vec<Said>)) -> SessionState {
    SessionState {
        key: Some(key_message(key)),
        said,
        ..SessionState::default()
    }
}

impl Copied {
    /// Leaves out of a session's state what the taker has.
    pub(super) fn spare(&self, key: SessionKey, said: &mut [Said]) {
        let Some(ids) = self.0.get(&key) else { return };
        for said in said.iter_mut().filter(|said| ids.contains(&said.event_id)) {
            said.message = Bytes::new();
            said.copied = true;
        }
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

    /// Puts into a grant's state what was left out of it.
    pub(super) fn fill(&self, state: &mut ShardState) {
        for session in &mut state.sessions {
            let Some(key) = session.key.as_ref().and_then(key) else {
                continue;
            };
            session.said.retain_mut(|said| self.fill_one(key, said));
        }
    }

    /// `false` where a message is missing: nobody could tell it to a client.
    fn fill_one(&self, key: SessionKey, said: &mut Said) -> bool {
        if !said.copied {
            return true;
        }
        let found = self.0.get(&(key, said.event_id.clone()));
        if let Some(message) = found {
            said.message = message.clone();
        }
        found.is_some()
    }
}

#[cfg(test)]
mod tests {
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
        let mut granted = state(&after);
        Copied([(key, ids)].into()).spare(key, &mut granted.sessions[0].said);
        let bytes = |state: &ShardState| -> usize {
            let said = state.sessions[0].said.iter();
            said.map(|said| said.message.len()).sum()
        };
        assert_eq!(bytes(&granted), 1, "only the new one is sent");
        Copies::of(state(&before)).fill(&mut granted);
        let found: Vec<_> = granted.sessions[0]
            .said
            .iter()
            .map(|said| said.message.clone())
            .collect();
        assert_eq!(found, ["b", "c", "d"]);
        let mut lost = state(&[Said {
            copied: true,
            ..one("e")
        }]);
        Copies::default().fill(&mut lost);
        assert!(lost.sessions[0].said.is_empty());
    }
}
