//! Short forms of what tests ask a store.

use bytes::Bytes;
use hexagram_core::{Epoch, EventId, Serial, SessionKey, ShardCount, ShardId};
use hexagram_store::{
    Change, Claim, ClaimMode, Claimed, DeadChunk, Group, Record, Said, Store, Wrote,
};

pub(crate) const KEEP: ClaimMode = ClaimMode::Keep;

pub(crate) fn shard(number: u16) -> ShardId {
    ShardCount::default().shard(number).unwrap()
}

pub(crate) fn epoch(number: u64) -> Epoch {
    Epoch::new(number).unwrap()
}

pub(crate) fn session(epoch: u64, serial: u64) -> SessionKey {
    SessionKey {
        epoch: Epoch::new(epoch).unwrap(),
        serial: Serial::new(serial),
    }
}

pub(crate) fn claim_of(number: u16, at: u64, mode: ClaimMode) -> Claim {
    Claim {
        shard: shard(number),
        epoch: epoch(at),
        mode,
    }
}

/// Claims shard 17; where its record was left is another question.
pub(crate) async fn claim(store: &dyn Store, at: u64, mode: ClaimMode) -> Claimed {
    but_left(store.claim(claim_of(17, at, mode)).await.unwrap())
}

/// The answer without where the record was left.
pub(crate) fn but_left(claimed: Claimed) -> Claimed {
    match claimed {
        Claimed::Yours { floor, known, .. } => Claimed::Yours {
            floor,
            known,
            left: None,
        },
        Claimed::Fenced(by) => Claimed::Fenced(by),
    }
}

pub(crate) fn yours(floor: u64, known: bool) -> Claimed {
    Claimed::Yours {
        floor: epoch(floor),
        known,
        left: None,
    }
}

/// A group of shard 17.
pub(crate) fn group(at: u64, number: u64, changes: Vec<Change>) -> Group {
    Group {
        shard: shard(17),
        epoch: epoch(at),
        number,
        changes,
    }
}

/// Writes a group of shard 17.
pub(crate) async fn write(store: &dyn Store, at: u64, number: u64, changes: Vec<Change>) -> Wrote {
    let wrote = store.write(&[group(at, number, changes)]).await.unwrap();
    wrote[0].clone().unwrap()
}

/// Reads shard 17, in an order.
pub(crate) async fn load(store: &dyn Store) -> Record {
    sorted(store.load(shard(17), &|| {}).await.unwrap())
}

/// The record in an order.
pub(crate) fn sorted(mut record: Record) -> Record {
    record.dead.sort_by_key(|chunk| (chunk.epoch, chunk.number));
    record.sessions.sort();
    record.said.sort_by_key(|(key, said)| (*key, said.id));
    record
}

/// A session's record.
pub(crate) fn set(serial: u64, text: &str) -> Change {
    Change::Session(session(1, serial), Bytes::copy_from_slice(text.as_bytes()))
}

pub(crate) fn say(serial: u64, id: &str) -> Change {
    let id = EventId::parse(id).unwrap();
    let message = Bytes::from_static(b"{}");
    Change::Said(session(1, serial), Said { id, message })
}

/// What [`set()`] leaves of the sessions.
pub(crate) fn sessions(of: &[(u64, &str)]) -> Vec<(SessionKey, Bytes)> {
    let entry = |(serial, text): &(u64, &str)| {
        (session(1, *serial), Bytes::copy_from_slice(text.as_bytes()))
    };
    of.iter().map(entry).collect()
}

pub(crate) fn chunk(at: u64, number: u64, word: u64) -> DeadChunk {
    DeadChunk {
        epoch: epoch(at),
        number,
        words: [word; 8],
        until: word,
    }
}
