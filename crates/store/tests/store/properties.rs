//! The same history, asked of both stores: each answer and each record must be the same.

use bytes::Bytes;
use hexagram_core::{EventId, StreamId, StreamKind};
use hexagram_store::{
    Change, ClaimMode, Claimed, Group, MemoryStore, RedisStore, Said, Store, Wrote,
};
use proptest::prelude::*;
use tokio::runtime::Runtime;

use crate::server::Server;
use crate::speech::{but_left, chunk, claim_of, epoch, session, shard, sorted};

const SHARDS: usize = 2;
/// Few, so that they meet; and some that a float cannot tell apart.
const EPOCHS: [u64; 5] = [1, 2, (1 << 53) + 1, u64::MAX - 1, u64::MAX];

/// What a history is made of. Numbers of groups are near those that would be right.
#[derive(Clone, Debug)]
enum Step {
    Claim {
        shard: usize,
        epoch: u64,
        mode: ClaimMode,
    },
    Write(Vec<Draft>),
    Load(usize),
}

#[derive(Clone, Debug)]
struct Draft {
    shard: usize,
    /// Of the last claim, if none is given.
    epoch: Option<u64>,
    ahead: u64,
    changes: Vec<Change>,
}

fn epochs() -> impl Strategy<Value = u64> {
    prop::sample::select(&EPOCHS[..])
}

fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![0..3_u64, Just(u64::MAX)]
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..12).prop_map(Bytes::from)
}

fn events() -> impl Strategy<Value = EventId> {
    (any::<bool>(), epochs(), numbers(), numbers()).prop_map(|(call, epoch, number, seq)| {
        let kind = if call {
            StreamKind::Call
        } else {
            StreamKind::Standing
        };
        StreamId {
            kind,
            epoch,
            number,
        }
        .event(seq)
    })
}

fn changes() -> impl Strategy<Value = Change> {
    let key = || (epochs(), numbers()).prop_map(|(epoch, serial)| session(epoch, serial));
    prop_oneof![
        3 => (key(), bytes()).prop_map(|(key, bytes)| Change::Session(key, bytes)),
        1 => key().prop_map(Change::Forget),
        1 => (epochs(), numbers(), any::<u64>())
            .prop_map(|(epoch, number, word)| Change::Dead(chunk(epoch, number, word))),
        1 => (epochs(), numbers()).prop_map(|(at, number)| Change::Undead(epoch(at), number)),
        3 => (key(), events(), bytes())
            .prop_map(|(key, id, message)| Change::Said(key, Said { id, message })),
        1 => (key(), events()).prop_map(|(key, id)| Change::Unsaid(key, id)),
        1 => bytes().prop_map(Change::Tails),
        1 => Just(Change::Whole),
    ]
}

fn drafts() -> impl Strategy<Value = Draft> {
    let ahead = prop_oneof![1 => Just(0), 6 => Just(1), 1 => Just(2), 1 => Just(u64::MAX)];
    let epoch = prop_oneof![4 => Just(None), 1 => epochs().prop_map(Some)];
    let changes = prop::collection::vec(changes(), 0..5);
    (0..SHARDS, epoch, ahead, changes).prop_map(|(shard, epoch, ahead, changes)| Draft {
        shard,
        epoch,
        ahead,
        changes,
    })
}

fn steps() -> impl Strategy<Value = Step> {
    let mode = prop_oneof![
        2 => Just(ClaimMode::Keep),
        1 => epochs().prop_map(|floor| ClaimMode::Rewrite { floor: epoch(floor) }),
    ];
    prop_oneof![
        2 => (0..SHARDS, epochs(), mode)
            .prop_map(|(shard, epoch, mode)| Step::Claim { shard, epoch, mode }),
        5 => prop::collection::vec(drafts(), 1..4).prop_map(Step::Write),
        1 => (0..SHARDS).prop_map(Step::Load),
    ]
}

/// Both stores, and what their owners remember.
struct Pair<'a> {
    memory: MemoryStore,
    redis: &'a RedisStore,
    /// The last claim's epoch and its last group, by shard.
    owners: [(u64, u64); SHARDS],
}

impl Pair<'_> {
    async fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Claim { shard, epoch, mode } => self.claim(*shard, *epoch, *mode).await,
            Step::Write(drafts) => self.write(drafts).await,
            Step::Load(shard) => self.load(*shard).await,
        }
    }

    async fn claim(&mut self, shard: usize, at: u64, mode: ClaimMode) -> Result<(), TestCaseError> {
        let claim = claim_of(number(shard), at, mode);
        let memory = self.memory.claim(claim).await.unwrap();
        prop_assert_eq!(self.redis.claim(claim).await.unwrap(), memory);
        let again = self.memory.claim(claim).await.unwrap();
        prop_assert_eq!(
            but_left(again),
            but_left(memory),
            "a repeated claim has another answer"
        );
        prop_assert_eq!(self.redis.claim(claim).await.unwrap(), again);
        if let Claimed::Yours { .. } = memory {
            self.owners[shard] = (at, 0);
        }
        Ok(())
    }

    async fn write(&mut self, drafts: &[Draft]) -> Result<(), TestCaseError> {
        let groups: Vec<Group> = drafts.iter().map(|draft| self.group(draft)).collect();
        let memory = self.memory.write(&groups).await.unwrap();
        prop_assert_eq!(&self.redis.write(&groups).await.unwrap(), &memory);
        for ((draft, group), wrote) in drafts.iter().zip(&groups).zip(memory) {
            let owner = &mut self.owners[draft.shard];
            if wrote == Ok(Wrote::Stored) && group.epoch.get() == owner.0 {
                owner.1 = owner.1.max(group.number);
            }
        }
        Ok(())
    }

    fn group(&self, draft: &Draft) -> Group {
        let (owner, last) = self.owners[draft.shard];
        Group {
            shard: shard(number(draft.shard)),
            epoch: epoch(draft.epoch.unwrap_or(owner)),
            number: last.saturating_add(draft.ahead),
            changes: draft.changes.clone(),
        }
    }

    async fn load(&self, of: usize) -> Result<(), TestCaseError> {
        let shard = shard(number(of));
        let memory = sorted(self.memory.load(shard, &|| {}).await.unwrap());
        prop_assert_eq!(
            sorted(self.redis.load(shard, &|| {}).await.unwrap()),
            memory
        );
        Ok(())
    }
}

fn number(shard: usize) -> u16 {
    u16::try_from(shard).unwrap() + 40
}

#[test]
fn both_stores_answer_the_same() {
    let runtime = Runtime::new().unwrap();
    let (server, redis) = runtime.block_on(async {
        let server = Server::start(&[]).await;
        let redis = server.store().await;
        (server, redis)
    });
    let histories = prop::collection::vec(steps(), 1..40);
    proptest!(ProptestConfig::with_cases(150), |(history in histories)| {
        runtime.block_on(async {
            let () = server.ask(&["FLUSHALL"]).await;
            let mut pair = Pair {
                memory: MemoryStore::default(),
                redis: &redis,
                owners: [(1, 0); SHARDS],
            };
            for step in &history {
                pair.step(step).await?;
            }
            for shard in 0..SHARDS {
                pair.load(shard).await?;
            }
            Ok::<_, TestCaseError>(())
        })?;
    });
}
