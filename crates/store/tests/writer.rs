//! An owner, its writer, and a store that fails in between: what was told to be stored is
//! there in the end, in the order in which it was said.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hexagram_core::{Epoch, Serial, SessionKey, ShardCount, ShardId};
use hexagram_store::{
    Change, Claim, ClaimMode, Claimed, Event, Health, Journal, MemoryStore, Snapshot, Store,
    Unwritten, Writer,
};
use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

const LATER: Duration = Duration::from_secs(30);

fn shard() -> ShardId {
    ShardCount::default().shard(5).unwrap()
}

fn epoch(number: u64) -> Epoch {
    Epoch::new(number).unwrap()
}

fn key(serial: u64) -> SessionKey {
    SessionKey {
        epoch: Epoch::FIRST,
        serial: Serial::new(serial),
    }
}

fn session(serial: u64, record: u8) -> Change {
    Change::Session(key(serial), Bytes::from(vec![record]))
}

/// What a worker would hold for its sessions.
type Held = Arc<Mutex<BTreeMap<SessionKey, Bytes>>>;

/// An owner that says all again when it is asked to.
struct Owner {
    held: Held,
    journal: Journal,
    writer: Writer,
    fenced: Arc<Mutex<Option<Epoch>>>,
}

impl Owner {
    async fn claim(store: &MemoryStore, number: u64) -> Self {
        let writer = Writer::new(Arc::new(store.clone()));
        let claim = Claim {
            shard: shard(),
            epoch: epoch(number),
            mode: ClaimMode::Keep,
        };
        let claimed = store.claim(claim).await.unwrap();
        assert!(matches!(claimed, Claimed::Yours { .. }), "{claimed:?}");
        let this = Self {
            held: Held::default(),
            journal: writer.open(shard(), epoch(number), true),
            writer: writer.clone(),
            fenced: Arc::default(),
        };
        let (told, events) = mpsc::channel(8);
        tokio::spawn(writer.run(told));
        tokio::spawn(heed(
            events,
            this.writer.clone(),
            this.journal.clone(),
            Arc::clone(&this.held),
            Arc::clone(&this.fenced),
        ));
        this
    }

    /// Notes something and has it stored; whether that was told.
    async fn say(&self, serial: u64, record: u8) -> Result<(), Unwritten> {
        let bytes = Bytes::from(vec![record]);
        let ticket = {
            let mut held = self.held.lock();
            held.insert(key(serial), bytes);
            self.journal.write(vec![session(serial, record)])
        };
        timeout(LATER, ticket).await.expect("a ticket is answered")
    }
}

async fn heed(
    mut events: mpsc::Receiver<Event>,
    writer: Writer,
    journal: Journal,
    held: Held,
    fenced: Arc<Mutex<Option<Epoch>>>,
) {
    while let Some(event) = events.recv().await {
        match event {
            Event::Fenced { by, .. } => *fenced.lock() = Some(by),
            Event::Behind { .. } => {
                let all = held.lock().clone().into_iter();
                let record = all.map(|(key, bytes)| vec![Change::Session(key, bytes)]);
                writer.rewrite(&journal, Epoch::FIRST, record.collect());
            }
        }
    }
}

async fn stored(store: &MemoryStore) -> BTreeMap<SessionKey, Bytes> {
    let record = store.load(shard(), &|| {}).await.unwrap();
    record.sessions.into_iter().collect()
}

/// What may happen to a store.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Down,
    Mute,
    Refuse,
    Wipe,
    RollBack,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Say(u64, u8),
    Fault(Fault),
    Heal,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fault = prop_oneof![
        Just(Fault::Down),
        Just(Fault::Mute),
        Just(Fault::Refuse),
        Just(Fault::Wipe),
        Just(Fault::RollBack),
    ];
    let step = prop_oneof![
        6 => (0u64..4, any::<u8>()).prop_map(|(serial, record)| Step::Say(serial, record)),
        2 => fault.prop_map(Step::Fault),
        2 => Just(Step::Heal),
        1 => (0u64..3_000).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..40)
}

fn cause(store: &MemoryStore, fault: Fault, backup: &Snapshot) {
    match fault {
        Fault::Down => store.set_down(true),
        Fault::Mute => store.set_mute(true),
        Fault::Refuse => store.set_refused(shard(), true),
        Fault::Wipe => store.wipe(),
        Fault::RollBack => store.restore(backup),
    }
}

fn heal(store: &MemoryStore) {
    store.set_down(false);
    store.set_refused(shard(), false);
}

fn paused(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().start_paused(true).build();
    runtime.unwrap().block_on(test);
}

proptest! {
    #[test]
    fn whatever_happens_to_it_the_store_ends_with_what_its_owner_holds(steps in steps()) {
        paused(async {
            let store = MemoryStore::default();
            let owner = Owner::claim(&store, 1).await;
            let backup = store.snapshot();
            for step in steps {
                match step {
                    Step::Say(serial, record) => drop(owner.say(serial, record).await),
                    Step::Fault(fault) => cause(&store, fault, &backup),
                    Step::Heal => heal(&store),
                    Step::Wait(ms) => sleep(Duration::from_millis(ms)).await,
                }
            }
            heal(&store);
            sleep(LATER).await;
            assert_eq!(stored(&store).await, *owner.held.lock());
            assert!(store.snapshot().is_whole(shard()));
            assert_eq!(*owner.writer.health().borrow(), Health::Up);
            assert_eq!(*owner.fenced.lock(), None);
        });
    }

    #[test]
    fn what_was_told_to_be_stored_is_there(said in prop::collection::vec((0u64..4, any::<u8>()), 1..20)) {
        paused(async {
            let store = MemoryStore::default();
            let owner = Owner::claim(&store, 1).await;
            for (serial, record) in said {
                owner.say(serial, record).await.unwrap();
                assert_eq!(stored(&store).await.get(&key(serial)), Some(&Bytes::from(vec![record])));
            }
        });
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_store_that_is_away_is_told_so() {
    let store = MemoryStore::default();
    let owner = Owner::claim(&store, 1).await;
    store.set_down(true);
    for _ in 0..2 {
        assert_eq!(owner.say(1, 1).await, Err(Unwritten::Lost));
    }
    assert_eq!(*owner.writer.health().borrow(), Health::Lost);
    store.set_down(false);
    sleep(LATER).await;
    assert_eq!(owner.say(2, 2).await, Ok(()));
    assert_eq!(stored(&store).await.len(), 2, "it was kept meanwhile");
}

#[tokio::test(start_paused = true)]
async fn an_older_owner_is_told_that_it_is_over() {
    let store = MemoryStore::default();
    let old = Owner::claim(&store, 1).await;
    old.say(1, 1).await.unwrap();
    let new = Owner::claim(&store, 2).await;
    assert_eq!(old.say(1, 2).await, Err(Unwritten::Fenced(epoch(2))));
    assert_eq!(*old.fenced.lock(), Some(epoch(2)));
    assert_eq!(old.say(1, 3).await, Err(Unwritten::Closed));
    new.say(3, 3).await.unwrap();
    let one = Bytes::from(vec![1]);
    assert_eq!(stored(&store).await.get(&key(1)), Some(&one));
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_says_nothing_hears_that_it_is_over_too() {
    let store = MemoryStore::default();
    let old = Owner::claim(&store, 1).await;
    let _new = Owner::claim(&store, 2).await;
    sleep(LATER).await;
    assert_eq!(*old.fenced.lock(), Some(epoch(2)));
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_was_given_on_is_still_told_what_was_said() {
    let store = MemoryStore::default();
    let owner = Owner::claim(&store, 1).await;
    let ticket = owner.journal.write(vec![session(1, 1)]);
    owner.journal.close();
    assert_eq!(ticket.await, Ok(()));
    assert_eq!(owner.say(2, 2).await, Err(Unwritten::Closed));
    assert_eq!(stored(&store).await.len(), 1);
}

/// The next shard is not to find it as the last one left it.
#[tokio::test(start_paused = true)]
async fn without_shards_too_a_store_is_found_that_is_back() {
    let store = MemoryStore::default();
    let owner = Owner::claim(&store, 1).await;
    owner.journal.close();
    let health = owner.writer.health();
    store.set_down(true);
    let journal = owner.writer.open(shard(), epoch(2), false);
    owner.writer.rewrite(&journal, Epoch::FIRST, Vec::new());
    sleep(LATER).await;
    journal.close();
    sleep(LATER).await;
    assert_eq!(*health.borrow(), Health::Lost);
    store.set_down(false);
    sleep(LATER).await;
    assert_eq!(*health.borrow(), Health::Up);

    let next = Claim {
        shard: shard(),
        epoch: epoch(3),
        mode: ClaimMode::Keep,
    };
    store.claim(next).await.unwrap();
    let journal = owner.writer.open(shard(), epoch(3), true);
    assert_eq!(journal.write(vec![session(1, 1)]).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_was_refused_and_left_is_not_in_the_way_of_the_next() {
    let store = MemoryStore::default();
    let owner = Owner::claim(&store, 1).await;
    store.set_refused(shard(), true);
    assert_eq!(owner.say(1, 1).await, Err(Unwritten::Lost));
    assert_eq!(*owner.writer.health().borrow(), Health::Refuses);
    owner.journal.close();
    sleep(LATER).await;
    assert_eq!(*owner.writer.health().borrow(), Health::Up);
}

/// More than may wait for one shard: it is written anew instead.
#[tokio::test(start_paused = true)]
async fn what_gathers_while_the_store_is_away_has_a_bound() {
    let store = MemoryStore::default();
    let owner = Owner::claim(&store, 1).await;
    store.set_down(true);
    assert_eq!(owner.say(0, 0).await, Err(Unwritten::Lost));
    let large = Bytes::from(vec![7; 1 << 20]);
    for serial in 1..8 {
        owner.held.lock().insert(key(serial), large.clone());
        owner
            .journal
            .note(vec![Change::Session(key(serial), large.clone())]);
    }
    store.set_down(false);
    sleep(LATER).await;
    assert_eq!(stored(&store).await, *owner.held.lock());
}

/// The lanes of two shards, of which one is refused.
#[tokio::test(start_paused = true)]
async fn a_shard_that_is_refused_holds_up_no_other() {
    let store = MemoryStore::default();
    let owner = Owner::claim(&store, 1).await;
    let other = ShardCount::default().shard(6).unwrap();
    let claim = Claim {
        shard: other,
        epoch: epoch(1),
        mode: ClaimMode::Keep,
    };
    store.claim(claim).await.unwrap();
    let journal = owner.writer.open(other, epoch(1), true);
    store.set_refused(shard(), true);
    for serial in 0..3 {
        let refused = owner.say(serial, 1).await;
        assert_eq!(refused, Err(Unwritten::Lost));
        let begun = Instant::now();
        assert_eq!(journal.write(vec![session(serial, 2)]).await, Ok(()));
        assert!(begun.elapsed() < Duration::from_millis(10));
        assert_eq!(*owner.writer.health().borrow(), Health::Refuses);
    }
    assert_eq!(owner.journal.settled(), None);
    assert!(journal.settled().is_some());
    store.set_refused(shard(), false);
    sleep(LATER).await;
    assert_eq!(stored(&store).await, *owner.held.lock());
    assert_eq!(*owner.writer.health().borrow(), Health::Up);
}

/// More than may wait of a shard that is refused: it is written anew once it is taken.
#[tokio::test(start_paused = true)]
async fn what_gathers_while_a_shard_is_refused_has_a_bound() {
    let store = MemoryStore::default();
    let owner = Owner::claim(&store, 1).await;
    assert_eq!(owner.say(0, 0).await, Ok(()));
    store.set_refused(shard(), true);
    assert_eq!(owner.say(1, 1).await, Err(Unwritten::Lost));
    let large = Bytes::from(vec![7; 1 << 20]);
    for serial in 2..9 {
        owner.held.lock().insert(key(serial), large.clone());
        let change = Change::Session(key(serial), large.clone());
        owner.journal.note(vec![change]);
    }
    sleep(LATER).await;
    assert_eq!(stored(&store).await.len(), 1, "what it had is not dropped");
    store.set_refused(shard(), false);
    sleep(LATER).await;
    assert_eq!(stored(&store).await, *owner.held.lock());
    assert!(store.snapshot().is_whole(shard()));
}
