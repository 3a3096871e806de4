//! The controller with scripted workers over loopback.

#![allow(clippy::unwrap_used, reason = "a test ends at what it cannot use")]

#[allow(dead_code, reason = "shared with the tests over HTTP")]
mod support;

use hexagram_control::{MemoryRegister, Register};
use hexagram_runtime::metrics::Metrics;
use support::{Puppet, SHARDS, control, counted, eventually, owned, rests, until};

const HALF: usize = SHARDS as usize / 2;

#[tokio::test]
async fn a_cluster_starts_and_a_new_worker_gets_its_share() {
    let register = MemoryRegister::default();
    let mut maps = register.watch();
    let (control, _end) = control(&register, 1);
    let first = Puppet::joined(0, 1, &register, &control).await;
    let map = until("a first map", &mut maps, |_| true).await;
    assert_eq!(owned(&map, &first.owner), usize::from(SHARDS));
    let second = Puppet::joined(1, 1, &register, &control).await;
    let even = |map: &_| owned(map, &second.owner) == HALF && rests(map);
    until("an even spread", &mut maps, even).await;
}

#[tokio::test]
async fn the_shards_of_the_dead_go_to_the_living() {
    let register = MemoryRegister::default();
    let mut maps = register.watch();
    let (control, _end) = control(&register, 3);
    let [a, b, c] = [0, 1, 2].map(|worker| Puppet::joined(worker, 1, &register, &control));
    let (a, b, c) = tokio::join!(a, b, c);
    until("a first map", &mut maps, |_| true).await;
    b.die();
    let map = until("failover", &mut maps, |map| owned(map, &b.owner) == 0).await;
    assert_eq!(owned(&map, &a.owner), HALF);
    assert_eq!(owned(&map, &c.owner), HALF);
    c.hang();
    let all = |map: &_| owned(map, &a.owner) == usize::from(SHARDS);
    until("failover from a worker that hangs", &mut maps, all).await;
}

#[tokio::test]
async fn a_restarted_worker_is_another_owner() {
    let register = MemoryRegister::default();
    let mut maps = register.watch();
    let (control, _end) = control(&register, 1);
    let before = Puppet::joined(0, 1, &register, &control).await;
    let first = until("a first map", &mut maps, |_| true).await;
    before.die();
    let after = Puppet::start(0, 2, &register).await;
    let taken = async || control.join(after.introduced()).await.ok();
    eventually("the death is found", taken).await;
    let inherits = |map: &_| owned(map, &after.owner) == usize::from(SHARDS);
    let map = until("the next life inherits", &mut maps, inherits).await;
    assert!(
        map.entries()
            .all(|(shard, entry)| Some(entry.epoch()) == first.entry(shard).epoch().next())
    );
    let refused = control.join(before.introduced()).await;
    assert!(refused.unwrap_err().to_string().contains("--name"));
}

#[tokio::test]
async fn a_second_worker_of_a_name_displaces_nobody() {
    let register = MemoryRegister::default();
    let mut maps = register.watch();
    let (control, _end) = control(&register, 1);
    let first = Puppet::joined(0, 1, &register, &control).await;
    let before = until("a first map", &mut maps, rests).await;
    let second = Puppet::start(0, 2, &register).await;
    let refused = control.join(second.introduced()).await.unwrap_err();
    assert!(refused.to_string().contains("--name"), "{refused}");
    assert_eq!(maps.borrow().as_deref(), Some(&*before));
    first.hang();
    let taken = async || control.join(second.introduced()).await.ok();
    eventually("the first is silent", taken).await;
    let inherits = |map: &_| owned(map, &second.owner) == usize::from(SHARDS);
    until("the second inherits", &mut maps, inherits).await;
}

#[tokio::test]
async fn orders_are_followed_and_a_drain_empties_a_worker() {
    let register = MemoryRegister::default();
    let mut maps = register.watch();
    let (control, _end) = control(&register, 2);
    let a = Puppet::joined(0, 1, &register, &control).await;
    let b = Puppet::joined(1, 1, &register, &control).await;
    until("a first map", &mut maps, |_| true).await;
    control.drain(a.owner.worker.clone()).await.unwrap();
    let empty = |map: &_| owned(map, &a.owner) == 0 && rests(map);
    until("a drain", &mut maps, empty).await;
    let back = control
        .move_shard(0, a.owner.worker.clone())
        .await
        .unwrap_err();
    assert!(back.to_string().contains("draining"), "{back}");
    let last = control.drain(b.owner.worker.clone()).await.unwrap_err();
    assert!(last.to_string().contains("no other worker"), "{last}");
    let c = Puppet::joined(2, 1, &register, &control).await;
    let even = |map: &_| owned(map, &c.owner) == HALF && rests(map);
    let map = until("a share for the newcomer", &mut maps, even).await;
    let mut own = map.entries().filter(|(_, entry)| *entry.owner() == b.owner);
    let (shard, _) = own.next().unwrap();
    control
        .move_shard(shard.get(), c.owner.worker.clone())
        .await
        .unwrap();
    let moved = |map: &_| owned(map, &c.owner) == HALF + 1 && rests(map);
    until("an ordered move", &mut maps, moved).await;
}

#[tokio::test]
async fn a_worker_whose_drain_is_cancelled_gets_its_share_again() {
    let register = MemoryRegister::default();
    let mut maps = register.watch();
    let (control, _end) = control(&register, 2);
    let a = Puppet::joined(0, 1, &register, &control).await;
    let b = Puppet::joined(1, 1, &register, &control).await;
    until("a first map", &mut maps, |_| true).await;
    let worker = &a.owner.worker;
    control.drain(worker.clone()).await.unwrap();
    let empty = |map: &_| owned(map, &a.owner) == 0 && rests(map);
    until("a drain", &mut maps, empty).await;
    control.cancel_drain(worker.clone()).await.unwrap();
    let even = |map: &_| owned(map, &b.owner) == HALF && rests(map);
    until("an even spread", &mut maps, even).await;
    let again = control.cancel_drain(worker.clone()).await.unwrap_err();
    assert!(again.to_string().contains("not being drained"), "{again}");
}

#[tokio::test]
async fn moves_and_failovers_are_counted() {
    let (register, metrics) = (MemoryRegister::default(), Metrics::new());
    let mut maps = register.watch();
    let (control, _end) = counted(&register, 2, &metrics);
    let a = Puppet::joined(0, 1, &register, &control).await;
    let b = Puppet::joined(1, 1, &register, &control).await;
    let map = until("a first map", &mut maps, |_| true).await;
    let (shard, _) = map
        .entries()
        .find(|(_, entry)| *entry.owner() == a.owner)
        .unwrap();
    let order = async || {
        control
            .move_shard(shard.get(), b.owner.worker.clone())
            .await
            .ok()
    };
    eventually("the shard is served", order).await;
    let moved = |map: &_| owned(map, &b.owner) == HALF + 1 && rests(map);
    until("a move", &mut maps, moved).await;
    a.die();
    let lost = HALF - 1;
    for line in [
        r#"moves_total{step="planned",why="order"} 1"#.to_owned(),
        r#"moves_total{step="committed",why="order"} 1"#.to_owned(),
        format!("hexagram_control_failovers_total {lost}"),
        "hexagram_control_workers_lost_total 1".to_owned(),
        r#"hexagram_control_workers{life="alive"} 1"#.to_owned(),
        format!(r#"worker_shards{{worker="worker-1"}} {SHARDS}"#),
    ] {
        let shown = async || metrics.encode().contains(&line).then_some(());
        eventually(&line, shown).await;
    }
}

/// Without a state file the register is empty: the workers know everything.
#[tokio::test]
async fn a_restarted_controller_moves_nothing() {
    let register = MemoryRegister::default();
    let mut maps = register.watch();
    let (before, end) = control(&register, 2);
    let a = Puppet::joined(0, 1, &register, &before).await;
    let b = Puppet::joined(1, 1, &register, &before).await;
    let old = until("a first map", &mut maps, |_| true).await;
    end.cancel();
    let empty = MemoryRegister::default();
    let mut maps = empty.watch();
    let (after, _end) = control(&empty, 1);
    after.known(old.version()).await;
    a.join(&after).await;
    b.join(&after).await;
    let new = until("a map learnt again", &mut maps, |_| true).await;
    assert!(new.version() > old.version());
    assert_eq!(new.routes().fingerprint(), old.routes().fingerprint());
    assert!(
        new.entries().eq(old.entries()),
        "owners and epochs are the same"
    );
}

#[tokio::test]
async fn a_register_that_was_rolled_back_goes_above_what_workers_know() {
    let register = MemoryRegister::default();
    let mut maps = register.watch();
    let (control, _end) = control(&register, 1);
    let a = Puppet::joined(0, 1, &register, &control).await;
    let before = until("a first map", &mut maps, rests).await;
    support::serving(&a).await;
    let first = support::shards().shard(0).unwrap();
    let epoch = before.entry(first).epoch();
    let known = epoch.get() + 40;
    a.knows(known);
    let above = |map: &hexagram_core::RegisterMap| map.entry(first).spent().get() == known;
    let map = until("the epoch is burnt", &mut maps, above).await;
    assert_eq!(map.entry(first).epoch(), epoch);
}
