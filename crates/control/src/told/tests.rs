//! What is known together, and what counts once the register answers.

use proptest::prelude::*;

use hexagram_core::{Entry, ShardId};
use hexagram_proto::WorkerAddress;

use super::*;
use crate::testing::{count, epoch, map, owner};

const SHARDS: usize = 4;

/// A version, and of each shard a worker and its epoch.
type Given = (u64, Vec<(u8, u64)>);

fn given() -> impl Strategy<Value = Given> {
    (1u64..9, prop::collection::vec((0u8..3, 1u64..9), SHARDS))
}

fn of((version, shards): Given) -> RegisterMap {
    let entry = |(worker, at)| Entry::new(owner(worker, 1), epoch(at));
    map(version, shards.into_iter().map(entry).collect())
}

/// Whether `later` takes no shard of `earlier` back.
fn goes_on(earlier: &RegisterMap, later: &RegisterMap) -> bool {
    let mut pairs = earlier.entries().zip(later.entries());
    pairs.all(|((_, before), (_, after))| after.epoch() >= before.epoch())
}

/// A map of one shard.
fn one(version: u64, worker: u8, at: u64) -> RegisterMap {
    map(version, vec![Entry::new(owner(worker, 1), epoch(at))])
}

fn shard() -> ShardId {
    count(1).shard(0).unwrap()
}

proptest! {
    #[test]
    fn no_epoch_that_anybody_knows_is_lost(all in prop::collection::vec(given(), 1..5)) {
        let all: Vec<_> = all.into_iter().map(of).collect();
        let known = newest(all.clone()).unwrap();
        let highest = all.iter().map(RegisterMap::version).max();
        prop_assert_eq!(Some(known.version()), highest);
        for (shard, entry) in known.entries() {
            let said = |map: &RegisterMap| map.entry(shard) == entry;
            prop_assert!(all.iter().any(said), "nobody said {:?}", entry);
        }
        for map in &all {
            prop_assert!(goes_on(map, &known));
        }
        // What a worker tells again later is no news.
        let again = newest([known.clone()].into_iter().chain(all)).unwrap();
        prop_assert_eq!(again, known);
    }

    #[test]
    fn what_an_edge_goes_by_never_goes_back(
        heard in prop::option::of(given()),
        says in prop::collection::vec(given(), 1..6),
    ) {
        let mut told = heard.map(of);
        let before = told.clone();
        for register in says.into_iter().map(of).map(Arc::new) {
            let was_told = told.clone();
            let (now, by) = over(&register, &mut told);
            prop_assert!(goes_on(&register, &now));
            if let Some(was_told) = &was_told {
                prop_assert!(goes_on(was_told, &now));
            }
            // The register counts unless it is older.
            if before.as_ref().is_none_or(|before| goes_on(before, &register)) {
                prop_assert_eq!((&now, by), (&register, GoesBy::Register));
                prop_assert_eq!(&told, &None);
            }
            prop_assert_eq!(by == GoesBy::Both, now != register);
        }
    }
}

#[test]
fn nobody_knows_nothing() {
    assert_eq!(newest([]), None);
}

#[test]
fn the_highest_version_counts_and_epochs_over_it() {
    let (old, new) = (one(3, 0, 5), one(4, 1, 5));
    assert_eq!(newest([old.clone(), new.clone()]), Some(new.clone()));
    assert_eq!(newest([new.clone(), old]), Some(new.clone()));
    let anew = one(1, 2, 6);
    let known = newest([anew.clone(), new]).unwrap();
    assert_eq!(known.version(), 4);
    assert_eq!(known.entry(shard()), anew.entry(shard()));
}

#[test]
fn an_older_register_waits_until_it_has_caught_up() {
    let mut told = Some(one(7, 0, 5));
    let behind = Arc::new(one(6, 1, 4));
    let (now, by) = over(&behind, &mut told);
    assert_eq!(by, GoesBy::Both);
    assert_eq!(now.entry(shard()).epoch(), epoch(5));
    let caught_up = Arc::new(one(7, 0, 5));
    assert_eq!(over(&caught_up, &mut told), (caught_up, GoesBy::Register));
    // From now on the register alone counts, as ever.
    assert_eq!(over(&behind, &mut told), (behind, GoesBy::Register));
}

#[test]
fn of_many_workers_some_are_asked_each_once() {
    let worker = |port: u16| SocketAddr::from(([10, 0, 0, 1], port));
    let many: BTreeSet<_> = (1..=100).map(worker).collect();
    let asked: BTreeSet<_> = some(many.clone()).into_iter().collect();
    assert!(asked.len() == MOST && asked.is_subset(&many), "{asked:?}");
    let few: BTreeSet<_> = (1..=3).map(worker).collect();
    assert_eq!(some(few.clone()).into_iter().collect::<BTreeSet<_>>(), few);
    assert!(some(BTreeSet::new()).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_register_that_answers_needs_nobody() {
    let register = watch::Sender::new(None);
    let asked = watch::Sender::new(false);
    let dialled = asked.clone();
    let tellers = Tellers {
        places: vec!["127.0.0.1:1".to_owned()],
        dial: Arc::new(move |address| {
            dialled.send_replace(true);
            WorkerAddress::Tcp(address.to_owned())
        }),
        cluster: "c".to_owned(),
        shards: count(1),
    };
    let (mut maps, by) = tellers.stand_in(register.subscribe());
    sleep(PATIENCE / 2).await;
    assert_eq!(*by.borrow(), GoesBy::Nothing);
    let map = Arc::new(one(1, 0, 1));
    register.send_replace(Some(Arc::clone(&map)));
    let got = maps.wait_for(Option::is_some).await.unwrap().clone();
    assert_eq!((got, *by.borrow()), (Some(map), GoesBy::Register));
    sleep(PATIENCE * 2).await;
    assert!(!*asked.borrow(), "a worker was asked");
}
