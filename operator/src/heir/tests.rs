use std::collections::BTreeMap;

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

/// The register after its first map, in which `owner` has the only shard.
async fn owned_by(owner: Owner) -> MemoryRegister {
    let count = ShardCount::try_from(1).unwrap();
    let addresses = BTreeMap::from([(owner.clone(), "10.0.0.7:7100".to_owned())]);
    let entries = vec![Entry::new(owner, Epoch::FIRST)];
    let map = RegisterMap::new(1, count, entries, addresses).unwrap();
    let register = MemoryRegister::default();
    register.compare_and_swap(Arc::new(map)).await.unwrap();
    register
}

async fn read(register: &MemoryRegister) -> Arc<RegisterMap> {
    register.read().await.unwrap().unwrap()
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
    assert_eq!(start.elapsed(), 2 * PATIENCE);
    let map = read(&register).await;
    let next = inherit(&map, &[], &owner, ADDRESS);
    take_over(&register, next).await.unwrap();
    assert!(!is_left_alone(&mut maps, &owner, ADDRESS).await);
    let map = read(&register).await;
    assert!(map.entries().all(|(_, entry)| *entry.owner() == owner));
}

#[tokio::test(start_paused = true)]
async fn who_has_no_last_life_waits() {
    let register = owned_by(life(1)).await;
    let stranger = Owner {
        worker: "worker-b".parse().unwrap(),
        ..life(1)
    };
    let mut maps = register.watch();
    let waits = is_left_alone(&mut maps, &stranger, ADDRESS);
    assert!(timeout(10 * PATIENCE, waits).await.is_err());
}

#[tokio::test]
async fn whom_the_map_names_is_asked_beside_the_others() {
    let register = owned_by(life(1)).await;
    let neighbour = Owner {
        worker: "worker-b".parse().unwrap(),
        ..life(1)
    };
    let known = [(life(1), "old:1"), (life(2), "own:1"), (neighbour, "b:1")];
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
