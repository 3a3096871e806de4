use std::collections::BTreeMap;
use std::future::ready;
use std::sync::atomic::{AtomicU32, Ordering};

use hexagram_control::MemoryRegister;
use hexagram_core::{Entry, Epoch, Incarnation};
use hexagram_proto::WorkerAddress;
use tokio::time::Instant;

use super::*;

const ADDRESS: &str = "10.0.0.7:7100";

fn life(number: u64) -> Owner {
    Owner {
        worker: "worker-a".parse().unwrap(),
        incarnation: Incarnation::new(number).unwrap(),
    }
}

/// A life of the other worker.
fn neighbour(number: u64) -> Owner {
    Owner {
        worker: "worker-b".parse().unwrap(),
        ..life(number)
    }
}

/// The register after its first map, in which `owner` has the only shard.
async fn owned_by(owner: Owner) -> MemoryRegister {
    shared_by([owner]).await
}

/// The same, in which each of `owners` has one shard.
async fn shared_by<const N: usize>(owners: [Owner; N]) -> MemoryRegister {
    let count = ShardCount::try_from(u16::try_from(N).unwrap()).unwrap();
    let addresses = owners
        .iter()
        .map(|owner| (owner.clone(), ADDRESS.to_owned()));
    let addresses = addresses.collect();
    let entries = owners.map(|owner| Entry::new(owner, Epoch::FIRST));
    let map = RegisterMap::new(1, count, entries.into(), addresses).unwrap();
    let register = MemoryRegister::default();
    register.compare_and_swap(Arc::new(map)).await.unwrap();
    register
}

async fn read(register: &MemoryRegister) -> Arc<RegisterMap> {
    register.read().await.unwrap().unwrap()
}

/// A register that takes its time: others write between a read and a write.
#[derive(Clone)]
struct Far(MemoryRegister);

impl Register for Far {
    async fn read(&self) -> Result<Option<Arc<RegisterMap>>, RegisterError> {
        let map = self.0.read().await;
        sleep(Duration::from_millis(10)).await;
        map
    }

    async fn compare_and_swap(&self, map: Arc<RegisterMap>) -> Result<(), RegisterError> {
        self.0.compare_and_swap(map).await
    }

    fn watch(&self) -> Maps {
        self.0.watch()
    }
}

/// A register in which others always write first, and how often it was written to.
#[derive(Clone)]
struct Busy(MemoryRegister, Arc<AtomicU32>);

impl Register for Busy {
    async fn read(&self) -> Result<Option<Arc<RegisterMap>>, RegisterError> {
        self.0.read().await
    }

    async fn compare_and_swap(&self, map: Arc<RegisterMap>) -> Result<(), RegisterError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Err(RegisterError::Conflict {
            stored: map.version(),
            given: map.version(),
        })
    }

    fn watch(&self) -> Maps {
        self.0.watch()
    }
}

/// Lets `heir` take over, to whom others have told nothing.
async fn take_over(register: &impl Register, heir: &Owner) -> Result<(), Untaken> {
    take_over_told(register, heir, Vec::new()).await
}

/// The same, to whom others have `told` something.
async fn take_over_told(
    register: &impl Register,
    heir: &Owner,
    told: Vec<RegisterMap>,
) -> Result<(), Untaken> {
    let inheritance = Inheritance {
        heir,
        address: ADDRESS,
        told,
    };
    let register = || ready(Ok(Some(register.clone())));
    inheritance.take_over(register).await
}

#[tokio::test(start_paused = true)]
async fn whom_an_operator_takes_in_takes_nothing() {
    let register = owned_by(life(1)).await;
    let takes_in = async {
        tokio::time::sleep(PATIENCE - Duration::from_secs(1)).await;
        let map = read(&register).await;
        let known = BTreeMap::from([(life(2), ADDRESS.to_owned())]);
        let named = Arc::new(map.with_addresses(known));
        register.compare_and_swap(named).await.unwrap();
    };
    let (mut maps, owner) = (register.watch(), life(2));
    let (is_left_alone, ()) = tokio::join!(is_left_alone(&mut maps, &owner, ADDRESS), takes_in);
    assert!(!is_left_alone);
}

#[tokio::test(start_paused = true)]
async fn whom_nobody_takes_in_takes_over() {
    let register = owned_by(life(1)).await;
    let (mut maps, owner, start) = (register.watch(), life(2), Instant::now());
    assert!(is_left_alone(&mut maps, &owner, ADDRESS).await);
    assert!(
        is_left_alone(&mut maps, &owner, ADDRESS).await,
        "it did not succeed"
    );
    let waited = start.elapsed();
    let range = 2 * PATIENCE..2 * PATIENCE + 3 * SPREAD;
    assert!(range.contains(&waited), "{waited:?}");
    take_over(&register, &owner).await.unwrap();
    assert!(!is_left_alone(&mut maps, &owner, ADDRESS).await);
    let map = read(&register).await;
    assert!(map.entries().all(|(_, entry)| *entry.owner() == owner));
}

#[tokio::test(start_paused = true)]
async fn who_has_no_last_life_waits() {
    let register = owned_by(life(1)).await;
    let (mut maps, stranger) = (register.watch(), neighbour(1));
    let waits = is_left_alone(&mut maps, &stranger, ADDRESS);
    assert!(timeout(10 * PATIENCE, waits).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn of_those_that_start_at_once_each_takes_over_in_turn() {
    let register = shared_by([life(1), neighbour(1)]).await;
    let (far, start) = (Far(register.clone()), Instant::now());
    let (mine, other) = (life(2), neighbour(2));
    let (one, two) = tokio::join!(take_over(&far, &mine), take_over(&far, &other));
    assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
    assert!(start.elapsed() < Duration::from_secs(1));
    let map = read(&register).await;
    assert_eq!(map.version(), 3, "they wrote one after the other");
    let owners = map.entries().map(|(_, entry)| entry.owner().clone());
    assert!(owners.eq([mine, other]));
}

#[tokio::test(start_paused = true)]
async fn who_never_writes_first_gives_up() {
    let tried = Arc::<AtomicU32>::default();
    let busy = Busy(owned_by(life(1)).await, Arc::clone(&tried));
    let went = take_over(&busy, &life(2)).await;
    let conflict = matches!(went, Err(Untaken::Register(RegisterError::Conflict { .. })));
    assert!(conflict, "{went:?}");
    assert_eq!(tried.load(Ordering::Relaxed), TRIES);
}

#[tokio::test]
async fn whom_an_operator_takes_in_meanwhile_takes_nothing() {
    let register = owned_by(life(1)).await;
    let known = BTreeMap::from([(life(2), ADDRESS.to_owned())]);
    let named = Arc::new(read(&register).await.with_addresses(known));
    register.compare_and_swap(Arc::clone(&named)).await.unwrap();
    take_over(&register, &life(2)).await.unwrap();
    assert_eq!(read(&register).await, named);
}

/// The register was put back from a backup.
#[tokio::test]
async fn who_takes_nothing_because_others_know_more_says_so() {
    let register = owned_by(life(1)).await;
    let map = read(&register).await;
    let told = map.above(|_| Epoch::new(2));
    let went = take_over_told(&register, &life(2), vec![told]).await;
    assert!(matches!(went, Err(Untaken::Outdated)), "{went:?}");
    assert_eq!(read(&register).await, map);
}

#[tokio::test]
async fn whom_the_map_names_is_asked_beside_the_others() {
    let register = owned_by(life(1)).await;
    let known = [
        (life(1), "old:1"),
        (life(2), "own:1"),
        (neighbour(1), "b:1"),
    ];
    let known = known.map(|(owner, place)| (owner, place.to_owned()));
    let map = read(&register).await.with_addresses(known.into());
    let others = Tellers {
        places: vec!["workers:1".to_owned()],
        dial: Arc::new(|address| WorkerAddress::Tcp(address.to_owned())),
        cluster: "c".to_owned(),
        shards: map.count(),
    };
    assert_eq!(asked(&others, &map, &life(2)).places, ["workers:1", "b:1"]);
}
