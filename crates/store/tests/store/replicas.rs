//! A store that waits for a replica: one that is up, killed, hung, or was never there.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use hexagram_store::{
    Claimed, Event, Health, Journal, RedisSettings, RedisStore, Store, StoreError, Unwritten,
    Writer, Wrote,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use crate::distance::far;
use crate::server::Server;
use crate::speech::{
    KEEP, claim, claim_of, epoch, group, load, sessions, set, shard, write, yours,
};

/// By then a worker has long given a store up that does not answer.
const LATER: Duration = Duration::from_secs(20);

/// One way to a replica that is not near: there and back takes longer than replicas are
/// waited for that are known to be missing.
const FAR: Duration = Duration::from_millis(30);

/// A primary that has its replica as soon as that one asks.
async fn primary() -> Server {
    Server::start(&["--repl-diskless-sync-delay", "0"]).await
}

/// The same, and its replica.
async fn pair() -> (Server, Server) {
    let primary = primary().await;
    let replica = Server::replica_of(&primary).await;
    (primary, replica)
}

fn waiting(server: &Server) -> RedisSettings {
    RedisSettings {
        wait: 1,
        ..server.settings()
    }
}

async fn store(primary: &Server) -> RedisStore {
    RedisStore::connect(&waiting(primary)).await.unwrap()
}

/// How many sessions of shard 17 a server has.
async fn held(server: &Server) -> u64 {
    server.ask(&["HLEN", "hexagram:{17}:sessions"]).await
}

/// Writes a group until the replica has it in time, with a deadline.
async fn write_at_last(store: &RedisStore, at: u64, number: u64, serial: u64) {
    let deadline = Instant::now() + LATER;
    let group = [group(at, number, vec![set(serial, "a")])];
    while store.write(&group).await.unwrap() != [Ok(Wrote::Stored)] {
        assert!(Instant::now() < deadline, "it is never stored");
    }
}

/// The same of what an owner has to say.
async fn say_at_last(journal: &Journal, serial: u64) {
    let deadline = Instant::now() + LATER;
    while journal.write(vec![set(serial, "a")]).await != Ok(()) {
        assert!(Instant::now() < deadline, "it is never stored");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An owner of shard 17, whose first session the replica has.
struct Owner {
    store: Arc<RedisStore>,
    journal: Journal,
    health: watch::Receiver<Health>,
    _events: mpsc::Receiver<Event>,
}

impl Owner {
    async fn at(primary: &Server) -> Self {
        let store = Arc::new(store(primary).await);
        claim(&*store, 1, KEEP).await;
        let writer = Writer::new(Arc::clone(&store) as Arc<dyn Store>);
        let journal = writer.open(shard(17), epoch(1), true);
        let health = writer.health();
        let (told, events) = mpsc::channel(8);
        tokio::spawn(writer.run(told));
        say_at_last(&journal, 1).await;
        Self {
            store,
            journal,
            health,
            _events: events,
        }
    }

    /// Says something that the replica does not hear.
    async fn say_alone(&self, serial: u64) {
        let refused = self.journal.write(vec![set(serial, "a")]).await;
        assert_eq!(refused, Err(Unwritten::Lost));
    }

    /// Waits until the store is as it says.
    async fn finds(&mut self, what: Health) {
        let found = self.health.wait_for(|health| *health == what);
        timeout(LATER, found).await.unwrap().unwrap();
    }
}

/// Writes a group that no replica hears of.
async fn write_alone(store: &RedisStore, number: u64, serial: u64) {
    let group = group(1, number, vec![set(serial, "a")]);
    let wrote = store.write(&[group]).await.unwrap();
    let [Err(StoreError::Unreplicated(why))] = &wrote[..] else {
        panic!("{wrote:?}");
    };
    assert!(why.contains("by 0 of the 1"), "{why}");
}

#[tokio::test]
async fn what_is_stored_is_at_the_replica() {
    let (primary, replica) = pair().await;
    let store = store(&primary).await;
    for number in 1..=20 {
        claim(&store, number, KEEP).await;
        write_at_last(&store, number, 1, number).await;
        assert_eq!(held(&replica).await, number);
    }
}

#[tokio::test]
async fn without_its_replica_nothing_is_stored_until_that_is_back() {
    let (primary, mut replica) = pair().await;
    let store = store(&primary).await;
    claim(&store, 1, KEEP).await;
    write_at_last(&store, 1, 1, 1).await;

    replica.kill().await;
    write_alone(&store, 2, 2).await;
    // A next owner finds all of it, and fences.
    assert_eq!(claim(&store, 2, KEEP).await, yours(1, true));
    assert_eq!(load(&store).await.sessions, sessions(&[(1, "a"), (2, "a")]));
    let late = write(&store, 1, 3, vec![set(3, "a")]).await;
    assert_eq!(late, Wrote::Fenced(epoch(2)));

    replica.start_again().await;
    primary.has_a_replica().await;
    write_at_last(&store, 2, 1, 3).await;
    assert_eq!(held(&replica).await, 3);
}

#[tokio::test]
async fn a_far_replica_is_found_again_while_writing_goes_on() {
    let primary = primary().await;
    let way = far(primary.port(), FAR).await;
    let replica = Server::replica_by(&primary, way).await;
    let store = store(&primary).await;
    let store = store.finding_replicas_again(Duration::from_secs(2));
    claim(&store, 1, KEEP).await;
    replica.pause();
    write_alone(&store, 1, 1).await;
    replica.resume();
    let deadline = Instant::now() + LATER;
    for number in 2.. {
        let group = [group(1, number, vec![set(number, "a")])];
        if store.write(&group).await.unwrap() == [Ok(Wrote::Stored)] {
            break;
        }
        assert!(Instant::now() < deadline, "it is never stored");
    }
}

/// The server knows of each connection only what was written over that one.
#[tokio::test]
async fn a_group_repeated_over_another_connection_is_waited_for_as_well() {
    let (primary, replica) = pair().await;
    let store = store(&primary).await;
    claim(&store, 1, KEEP).await;
    replica.pause();
    write_alone(&store, 1, 1).await;
    let killed: u64 = primary.ask(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    assert!(killed > 0);
    write_alone(&store, 1, 1).await;
    replica.resume();
    write_at_last(&store, 1, 1, 1).await;
    assert_eq!(held(&replica).await, 1);
}

#[tokio::test]
async fn a_replica_that_hangs_holds_up_the_first_claim_only() {
    let (primary, replica) = pair().await;
    let store = store(&primary).await;
    replica.pause();
    let begun = Instant::now();
    let claims = (0..32).map(|number| store.claim(claim_of(number, 1, KEEP)));
    for claimed in join_all(claims).await {
        assert!(matches!(claimed, Ok(Claimed::Yours { .. })), "{claimed:?}");
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
    replica.resume();
}

#[tokio::test]
async fn who_waits_is_told_and_all_is_well_once_the_replica_is_back() {
    let (primary, mut replica) = pair().await;
    let mut owner = Owner::at(&primary).await;
    replica.kill().await;
    owner.say_alone(2).await;
    owner.finds(Health::Unreplicated).await;
    // Who asks from now on is told at once, and the store is told all the same.
    owner.say_alone(3).await;

    replica.start_again().await;
    owner.finds(Health::Up).await;
    say_at_last(&owner.journal, 4).await;
    let all = [1, 2, 3, 4].map(|serial| (serial, "a"));
    assert_eq!(load(&*owner.store).await.sessions, sessions(&all));
    assert_eq!(held(&replica).await, 4);
}

/// It was stopped, maybe, and is to hear soon that it is over.
#[tokio::test]
async fn who_asks_what_it_owns_does_not_wait_for_replicas() {
    let (primary, replica) = pair().await;
    let store = store(&primary).await;
    claim(&store, 1, KEEP).await;
    replica.pause();
    write_alone(&store, 1, 1).await;
    let asked = store.inquire(&[group(1, 1, Vec::new())]).await.unwrap();
    assert_eq!(asked, [Ok(Wrote::Stored)]);
    claim(&store, 2, KEEP).await;
    let asked = store.inquire(&[group(1, 1, Vec::new())]).await.unwrap();
    assert_eq!(asked, [Ok(Wrote::Fenced(epoch(2)))]);
    replica.resume();
}

/// The last shard leaves while the replica is away: the next one finds it back.
#[tokio::test]
async fn all_is_well_without_shards_too_once_the_replica_is_back() {
    let (primary, replica) = pair().await;
    let mut owner = Owner::at(&primary).await;
    replica.pause();
    owner.say_alone(2).await;
    owner.journal.close();
    owner.finds(Health::Unreplicated).await;
    replica.resume();
    owner.finds(Health::Up).await;
}

#[tokio::test]
async fn a_server_without_a_replica_says_so_at_once() {
    let server = Server::start(&[]).await;
    let connected = RedisStore::connect(&waiting(&server)).await;
    let Err(StoreError::Unreplicated(why)) = connected else {
        panic!("{connected:?}");
    };
    assert!(why.contains("by 0 of the 1"), "{why}");
}

/// As some managed ones are.
#[tokio::test]
async fn a_server_that_cannot_wait_is_refused() {
    let server = Server::start(&["--rename-command", "WAIT", ""]).await;
    let connected = RedisStore::connect(&waiting(&server)).await;
    let Err(StoreError::Unusable(why)) = connected else {
        panic!("{connected:?}");
    };
    assert!(why.contains("WAIT"), "{why}");
}
