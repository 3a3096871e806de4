//! The scripts: what they are given and what their answers mean.

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisResult};

use super::keys::{Keys, chunk_bytes, chunk_field, digits, read_epoch, session_field};
use crate::claim_ids::ClaimId;
use crate::record::{Change, Group, SAID_KEPT};
use crate::store::{Claim, ClaimMode, Claimed, Mark, Wrote};

const ABOUT: &str = include_str!("about.lua");
const CLAIM: &str = include_str!("claim.lua");
const WRITE: &str = include_str!("write.lua");

/// The scripts, by the names that the server gave them.
#[derive(Clone, Debug)]
pub(super) struct Scripts {
    about: String,
    claim: String,
    write: String,
    /// As `write`, for groups that take no memory: they pass although there is none left.
    remove: String,
}

impl Scripts {
    /// Has the server keep the scripts.
    pub(super) async fn load(connection: &mut MultiplexedConnection) -> RedisResult<Self> {
        let mut pipeline = Pipeline::new();
        let write = format!("#!lua\n{WRITE}");
        let remove = format!("#!lua flags=allow-oom\n{WRITE}");
        for text in [ABOUT, CLAIM, &write, &remove] {
            pipeline.cmd("SCRIPT").arg("LOAD").arg(text);
        }
        let (about, claim, write, remove) = pipeline.query_async(connection).await?;
        Ok(Self {
            about,
            claim,
            write,
            remove,
        })
    }

    /// Asks whose store it is; `facts` are cluster, shards, schema and incarnation.
    pub(super) fn about(&self, facts: [&str; 4]) -> Cmd {
        let mut command = call(&self.about, &[super::keys::ABOUT]);
        command.arg(&facts[..]);
        command
    }

    /// Claims a shard.
    pub(super) fn claim(&self, claim: Claim, id: ClaimId) -> Cmd {
        let rewrite = match claim.mode {
            ClaimMode::Keep => String::new(),
            ClaimMode::Rewrite { floor } => digits(floor.get()),
        };
        let mut command = call(&self.claim, &shard_keys(Keys(claim.shard)));
        command
            .arg(digits(claim.epoch.get()))
            .arg(digits(id))
            .arg(rewrite);
        command
    }

    /// Writes a group.
    pub(super) fn write(&self, group: &Group, id: ClaimId) -> Cmd {
        let removes = group.changes.iter().all(takes_no_memory);
        let script = if removes { &self.remove } else { &self.write };
        let mut command = call(script, &shard_keys(Keys(group.shard)));
        command
            .arg(digits(group.epoch.get()))
            .arg(digits(id))
            .arg(digits(group.number))
            .arg(digits(group.number.saturating_sub(1)))
            .arg(SAID_KEPT.as_secs());
        for change in &group.changes {
            add(change, &mut command);
        }
        command
    }
}

/// What a claim came to; `None` if no script of ours answers so.
pub(super) fn read_claimed(answer: &[String]) -> Option<Claimed> {
    match answer {
        [what, by] if what == "fenced" => read_epoch(by).map(Claimed::Fenced),
        [what, floor] if what == "empty" => Some(Claimed::Yours {
            floor: read_epoch(floor)?,
            known: false,
            left: None,
        }),
        [what, floor, epoch, number] if what == "known" => Some(Claimed::Yours {
            floor: read_epoch(floor)?,
            known: true,
            left: Some(Mark {
                epoch: read_epoch(epoch)?,
                number: number.parse().ok()?,
            }),
        }),
        _ => None,
    }
}

/// What writing a group came to; `None` if no script of ours answers so.
pub(super) fn read_wrote(answer: &[String]) -> Option<Wrote> {
    match answer {
        [what] if what == "stored" => Some(Wrote::Stored),
        [what] if what == "behind" => Some(Wrote::Behind),
        [what, epoch] if what == "fenced" => read_epoch(epoch).map(Wrote::Fenced),
        _ => None,
    }
}

fn shard_keys(keys: Keys) -> [String; 5] {
    [
        keys.head(),
        keys.sessions(),
        keys.dead(),
        keys.speakers(),
        keys.said(""),
    ]
}

fn call(script: &str, keys: &[impl AsRef<str>]) -> Cmd {
    let mut command = redis::cmd("EVALSHA");
    command.arg(script).arg(keys.len());
    for key in keys {
        command.arg(key.as_ref());
    }
    command
}

/// A change as four arguments.
fn add(change: &Change, command: &mut Cmd) {
    let mut say = |what: &str, of: &str, which: &str, bytes: &[u8]| {
        command.arg(what).arg(of).arg(which).arg(bytes);
    };
    match change {
        Change::Session(key, bytes) => say("session", &session_field(*key), "", bytes),
        Change::Forget(key) => say("forget", &session_field(*key), "", b""),
        Change::Dead(chunk) => {
            let field = chunk_field(chunk.epoch, chunk.number);
            say("dead", &field, "", &chunk_bytes(chunk));
        }
        Change::Undead(epoch, number) => say("undead", &chunk_field(*epoch, *number), "", b""),
        Change::Said(key, said) => {
            let id = said.id.to_string();
            say("said", &session_field(*key), &id, &said.message);
        }
        Change::Unsaid(key, id) => say("unsaid", &session_field(*key), &id.to_string(), b""),
        Change::Tails(bytes) if bytes.is_empty() => say("notails", "", "", b""),
        Change::Tails(bytes) => say("tails", "", "", bytes),
        Change::Whole => say("whole", "", "", b""),
    }
}

fn takes_no_memory(change: &Change) -> bool {
    match change {
        Change::Forget(_) | Change::Undead(..) | Change::Unsaid(..) | Change::Whole => true,
        Change::Tails(bytes) => bytes.is_empty(),
        Change::Session(..) | Change::Dead(_) | Change::Said(..) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_our_scripts_answers_mean_something() {
        for words in [
            &[][..],
            &["stored", "1"],
            &["fenced", "0"],
            &["fenced"],
            &["ok"],
        ] {
            assert_eq!(read_wrote(&answer(words)), None, "{words:?}");
        }
        for words in [
            &[][..],
            &["known"],
            &["known", "x"],
            &["known", "1"],
            &["known", "1", "1", "x"],
            &["known", "1", "0", "1"],
            &["empty", "0"],
            &["ok", "1"],
        ] {
            assert_eq!(read_claimed(&answer(words)), None, "{words:?}");
        }
    }
}
