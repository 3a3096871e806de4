//! Reading a record in pieces, so that no answer is large.

use std::collections::BTreeMap;

use bytes::Bytes;
use hexagram_core::{EventId, SessionKey, ShardId};
use redis::Pipeline;

use super::connection::Connection;
use super::keys::{Entry, Keys, read_chunk, read_session};
use crate::record::{Record, Said};
use crate::store::{Arrived, StoreError};

/// Sessions or chunks asked for at once; the server may give a few more.
const ENTRIES: usize = 256;
/// Sessions whose sayings are asked for at once: each may have 512 KiB.
const SPEAKERS: usize = 16;

/// Reads a shard's record.
pub(super) async fn load(
    connection: &Connection,
    shard: ShardId,
    arrived: Arrived<'_>,
) -> Result<Record, StoreError> {
    let keys = Keys(shard);
    let (tails, speakers) = summary(connection, keys).await?;
    arrived();
    let mut record = Record {
        tails: tails.unwrap_or_default(),
        ..Record::default()
    };
    for (field, bytes) in entries(connection, &keys.dead(), arrived).await? {
        let chunk = read_chunk(&field, &bytes);
        let nonsense = || connection.nonsense(&keys.dead());
        record.dead.push(chunk.ok_or_else(nonsense)?);
    }
    for (field, bytes) in entries(connection, &keys.sessions(), arrived).await? {
        let key = read_session(&field).ok_or_else(|| connection.nonsense(&keys.sessions()))?;
        record.sessions.push((key, bytes));
    }
    for speakers in speakers.chunks(SPEAKERS) {
        record.said.extend(said(connection, keys, speakers).await?);
        arrived();
    }
    Ok(record)
}

async fn summary(
    connection: &Connection,
    keys: Keys,
) -> Result<(Option<Bytes>, Vec<String>), StoreError> {
    let ask = |_: &_| {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("HGET").arg(keys.head()).arg("tails");
        pipeline.cmd("ZRANGE").arg(keys.speakers()).arg(0).arg(-1);
        pipeline
    };
    connection.run(ask).await
}

/// All of a hash. A field may be given twice while the server makes the hash larger.
async fn entries(
    connection: &Connection,
    key: &str,
    arrived: Arrived<'_>,
) -> Result<BTreeMap<String, Bytes>, StoreError> {
    let mut all = BTreeMap::new();
    let mut cursor = 0_u64;
    loop {
        let ask = |_: &_| {
            let mut pipeline = Pipeline::new();
            let scan = pipeline.cmd("HSCAN").arg(key).arg(cursor);
            scan.arg("COUNT").arg(ENTRIES);
            pipeline
        };
        let ((next, some),): ((u64, Vec<Entry>),) = connection.run(ask).await?;
        arrived();
        all.extend(some);
        if next == 0 {
            return Ok(all);
        }
        cursor = next;
    }
}

/// What some sessions have said.
async fn said(
    connection: &Connection,
    keys: Keys,
    speakers: &[String],
) -> Result<Vec<(SessionKey, Said)>, StoreError> {
    let ask = |_: &_| {
        let mut pipeline = Pipeline::new();
        for speaker in speakers {
            pipeline.cmd("HGETALL").arg(keys.said(speaker));
        }
        pipeline
    };
    let sayings: Vec<Vec<Entry>> = connection.run(ask).await?;
    let mut all = Vec::new();
    for (speaker, messages) in speakers.iter().zip(sayings) {
        let nonsense = || connection.nonsense(&keys.said(speaker));
        let key = read_session(speaker).ok_or_else(nonsense)?;
        for (field, message) in messages {
            let id = EventId::parse(&field).ok_or_else(nonsense)?;
            all.push((key, Said { id, message }));
        }
    }
    Ok(all)
}
