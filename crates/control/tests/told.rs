//! The map that scripted workers tell over loopback, while the register does not answer.

#![allow(clippy::unwrap_used, reason = "a test ends at what it cannot use")]

#[allow(dead_code, reason = "shared with the tests of the controller")]
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use hexagram_control::{GoesBy, MemoryRegister, Tellers};
use hexagram_core::{Entry, Epoch, Owner, RegisterMap};
use hexagram_proto::WorkerAddress;
use tokio::sync::watch;
use tokio::time::timeout;

use support::{DEADLINE, Puppet, SHARDS, shards, until};

/// A map in which `owner` has all shards in this epoch.
fn map(version: u64, owner: &Owner, epoch: u64) -> RegisterMap {
    let entry = Entry::new(owner.clone(), Epoch::new(epoch).unwrap());
    let entries = vec![entry; usize::from(SHARDS)];
    RegisterMap::new(version, shards(), entries, BTreeMap::new()).unwrap()
}

fn tellers(places: Vec<String>) -> Tellers {
    Tellers {
        places,
        dial: Arc::new(|address| WorkerAddress::Tcp(address.to_owned())),
        cluster: "c".to_owned(),
        shards: shards(),
    }
}

async fn goes_by(by: &mut watch::Receiver<GoesBy>, what: GoesBy) {
    let gone = timeout(DEADLINE, by.wait_for(|by| *by == what)).await;
    gone.unwrap().unwrap();
}

#[tokio::test]
async fn the_newest_map_counts_until_the_register_answers() {
    let register = MemoryRegister::default();
    let [older, behind, newest, hangs] =
        [0, 1, 2, 3].map(|worker| Puppet::start(worker, 1, &register));
    let (older, behind, newest, hangs) = tokio::join!(older, behind, newest, hangs);
    behind.tells(&map(4, &behind.owner, 2));
    newest.tells(&map(6, &newest.owner, 3));
    hangs.tells(&map(9, &hangs.owner, 9));
    hangs.hang();
    let mut places: Vec<_> = [&older, &behind, &newest, &hangs]
        .map(|puppet| puppet.address.to_string())
        .into();
    // Nobody listens there.
    places.push("127.0.0.1:1".to_owned());
    let followed = watch::Sender::new(None);
    let (mut maps, mut by) = tellers(places).stand_in(followed.subscribe());
    let told = until("what workers tell", &mut maps, |_| true).await;
    assert_eq!(
        (&*told, *by.borrow()),
        (&map(6, &newest.owner, 3), GoesBy::Workers)
    );

    // The register was put back, and goes on.
    followed.send_replace(Some(Arc::new(map(5, &older.owner, 2))));
    goes_by(&mut by, GoesBy::Both).await;
    let now = until("the register's version", &mut maps, |map| {
        map.version() == 5
    })
    .await;
    assert!(
        now.entries()
            .all(|(_, entry)| *entry.owner() == newest.owner)
    );
    let goes_on = map(6, &older.owner, 4);
    followed.send_replace(Some(Arc::new(goes_on.clone())));
    goes_by(&mut by, GoesBy::Register).await;
    until("the register's map", &mut maps, |map| *map == goes_on).await;
}

#[tokio::test]
async fn who_finds_nobody_goes_on_asking() {
    let register = MemoryRegister::default();
    let worker = Puppet::start(0, 1, &register).await;
    let place = worker.address.to_string();
    let followed = watch::Sender::new(None);
    let (mut maps, by) = tellers(vec![place]).stand_in(followed.subscribe());
    // It has nothing to tell when it is asked first.
    worker.was_asked().await;
    assert_eq!(*by.borrow(), GoesBy::Nothing);
    let known = map(1, &worker.owner, 1);
    worker.tells(&known);
    let told = until("what it tells later", &mut maps, |_| true).await;
    assert_eq!(*told, known);
}

#[tokio::test]
async fn all_that_answer_are_known_and_the_others_cost_their_time_alone() {
    let register = MemoryRegister::default();
    let [first, second, hangs] = [0, 1, 2].map(|worker| Puppet::start(worker, 1, &register));
    let (first, second, hangs) = tokio::join!(first, second, hangs);
    let maps = [map(3, &first.owner, 2), map(1, &second.owner, 9)];
    first.tells(&maps[0]);
    second.tells(&maps[1]);
    hangs.tells(&map(9, &hangs.owner, 20));
    hangs.hang();
    let places = [&first, &second, &hangs].map(|puppet| puppet.address.to_string());
    let others = tellers(places.into());
    let mut known = timeout(DEADLINE, others.known()).await.unwrap();
    known.sort_by_key(RegisterMap::version);
    let [newer, older] = maps;
    assert_eq!(known, [older, newer]);
}
