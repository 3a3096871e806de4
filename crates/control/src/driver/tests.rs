//! What is written when many fall silent, and when another controller wrote first.

#![allow(clippy::unwrap_used, reason = "a test ends at what it cannot use")]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use hexagram_core::{Entry, ShardId};
use hexagram_proto::admin::Phase;
use tokio::sync::oneshot;
use tokio::time::advance;

use super::*;
use crate::register::{Maps, MemoryRegister};
use crate::testing::{count, epoch, held, map, owner, report, settings};
use crate::watcher::Death;

const WORKERS: u8 = 4;
/// In which all are heard again.
const OTHERS: Duration = Duration::from_secs(4);

/// Another controller writes first, each time or once, and then worker 1 reports meanwhile, or
/// another map stands.
#[derive(Clone, Default)]
struct Contested {
    inner: MemoryRegister,
    is_lost: Arc<AtomicBool>,
    is_contested: Arc<AtomicBool>,
    signs: Arc<OnceLock<mpsc::Sender<(Owner, Sign)>>>,
    others: Arc<OnceLock<Arc<RegisterMap>>>,
}

impl Register for Contested {
    async fn read(&self) -> Result<Option<Arc<RegisterMap>>, RegisterError> {
        self.inner.read().await
    }

    async fn compare_and_swap(&self, map: Arc<RegisterMap>) -> Result<(), RegisterError> {
        let given = map.version();
        let conflict = RegisterError::Conflict {
            stored: given,
            given,
        };
        if self.is_lost.load(Ordering::SeqCst) {
            return Err(conflict);
        }
        if self.is_contested.swap(false, Ordering::SeqCst) {
            if let Some(signs) = self.signs.get() {
                signs.try_send((owner(1, 1), serving(1))).unwrap();
            }
            if let Some(map) = self.others.get() {
                self.inner.compare_and_swap(Arc::clone(map)).await?;
            }
            return Err(conflict);
        }
        self.inner.compare_and_swap(map).await
    }

    fn watch(&self) -> Maps {
        self.inner.watch()
    }
}

fn shard(number: u8) -> ShardId {
    count(WORKERS.into()).shard(number.into()).unwrap()
}

/// Worker n serves shard n.
fn serving(worker: u8) -> Sign {
    Sign::Report(report(&[(shard(worker), held(Phase::Serving, 1))]))
}

/// A driver whose workers all report; worker n owns shard n.
async fn driver<R: Register>(register: R) -> Driver<R> {
    let entries = (0..WORKERS).map(|worker| Entry::new(owner(worker, 1), epoch(1)));
    let first = map(1, entries.collect());
    let addresses = (0..WORKERS).map(|worker| (owner(worker, 1), "127.0.0.1:1".to_owned()));
    let first = first.with_addresses(addresses.collect());
    register.compare_and_swap(Arc::new(first)).await.unwrap();
    let (shown, _) = watch::channel(Overview::default());
    let (news, _) = broadcast::channel(8);
    let mut driver = Driver::new(register, settings(WORKERS.into()), shown, news);
    driver.settle().await.unwrap();
    // Nobody listens there, and nobody is to say so.
    driver.watchers.clear();
    for worker in 0..WORKERS {
        driver.hear(&owner(worker, 1), serving(worker));
    }
    driver
}

impl<R: Register> Driver<R> {
    /// What is written now, without watchers that say what these workers are.
    async fn owners(&mut self) -> Vec<Owner> {
        self.settle().await.unwrap();
        self.watchers.clear();
        let map = self.register.read().await.unwrap().unwrap();
        map.entries()
            .map(|(_, entry)| entry.owner().clone())
            .collect()
    }

    fn lose(&mut self, workers: &[u8], death: Death) {
        for worker in workers {
            self.hear(&owner(*worker, 1), Sign::Silent);
        }
        for worker in workers {
            self.hear(&owner(*worker, 1), Sign::Died(death));
        }
    }
}

fn all() -> Vec<Owner> {
    (0..WORKERS).map(|worker| owner(worker, 1)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_is_cut_off_gives_nothing_to_who_is_near() {
    let mut driver = driver(MemoryRegister::default()).await;
    driver.lose(&[1, 2, 3], Death::Silent);
    assert_eq!(driver.owners().await, all());
    driver.hear(&owner(1, 1), serving(1));
    assert_eq!(driver.owners().await, all(), "the others have a moment");
    driver.hear(&owner(2, 1), serving(2));
    advance(OTHERS).await;
    let owners = driver.owners().await;
    assert_eq!(owners[..3], all()[..3]);
    assert_ne!(owners[3], owner(3, 1));
}

#[tokio::test(start_paused = true)]
async fn who_is_held_is_shown_as_silent_also_where_it_owns_nothing() {
    let mut driver = driver(MemoryRegister::default()).await;
    let shown = driver.shown.subscribe();
    let lives = || {
        let workers = shown.borrow().workers.clone();
        let none_dies = workers
            .iter()
            .all(|worker| worker.dead_for_seconds.is_none());
        assert!(none_dies, "{workers:?}");
        let lives = workers.iter().map(|worker| worker.life);
        lives.collect::<Vec<_>>()
    };
    let idle = Introduction::new(owner(WORKERS, 1), "127.0.0.1:1".to_owned());
    driver.join(&idle).unwrap();
    driver.hear(&idle.owner, Sign::Report(report(&[])));
    driver.lose(&[1, 2, 3, WORKERS], Death::Silent);
    driver.owners().await;
    driver.owners().await;
    assert_eq!(
        lives(),
        ["alive", "suspect", "suspect", "suspect", "suspect"]
    );
    assert!(shown.borrow().lost.is_empty());
    advance(OTHERS).await;
    driver.owners().await;
    assert_eq!(lives(), ["alive"]);
    assert_eq!(shown.borrow().lost.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn who_is_heard_first_after_a_cut_gets_nothing_of_the_others() {
    let mut driver = driver(MemoryRegister::default()).await;
    driver.lose(&[0, 1, 2, 3], Death::Silent);
    assert_eq!(driver.owners().await, all());
    advance(100 * OTHERS).await;
    for worker in 0..WORKERS {
        driver.hear(&owner(worker, 1), serving(worker));
        assert_eq!(driver.owners().await, all());
    }
}

#[tokio::test(start_paused = true)]
async fn processes_that_ended_are_followed_at_once_however_many() {
    let mut driver = driver(MemoryRegister::default()).await;
    driver.lose(&[1, 2, 3], Death::Refused);
    assert_eq!(driver.owners().await, vec![owner(0, 1); WORKERS.into()]);
}

#[tokio::test(start_paused = true)]
async fn whom_the_platform_does_not_have_is_followed_at_once() {
    let mut driver = driver(MemoryRegister::default()).await;
    driver.lose(&[1, 2, 3], Death::Silent);
    let present = [0, 2, 3].map(|worker| owner(worker, 1).worker);
    driver.serve(Request::Present(present.into())).await;
    let owners = driver.owners().await;
    assert_eq!(owners[1], owner(0, 1), "it has no pod");
    assert_eq!(owners[2..], all()[2..], "they have");
}

#[tokio::test(start_paused = true)]
async fn what_is_said_while_another_controller_writes_counts_at_the_next_try() {
    let register = Contested::default();
    let mut driver = driver(register.clone()).await;
    driver.lose(&[1], Death::Refused);
    register.signs.set(driver.signs.clone()).unwrap();
    register.is_contested.store(true, Ordering::SeqCst);
    assert_eq!(driver.owners().await, all());
    assert!(!register.is_contested.load(Ordering::SeqCst), "it wrote");
}

/// A life of worker 1 wants to join, elsewhere than the one that lives.
async fn intrude<R: Register>(driver: &mut Driver<R>, life: u64) {
    let who = Introduction::new(owner(1, life), "127.0.0.1:2".to_owned());
    let (answer, answered) = oneshot::channel();
    driver.serve(Request::Join(who, answer)).await;
    assert!(answered.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn who_may_not_join_is_news_once_a_life_and_reason() {
    let mut driver = driver(MemoryRegister::default()).await;
    let mut news = driver.news.subscribe();
    for life in [2, 2, 3, 2] {
        intrude(&mut driver, life).await;
    }
    // The reason says where the one that lives is.
    let moved = Introduction::new(owner(1, 1), "127.0.0.1:3".to_owned());
    driver.join(&moved).unwrap();
    intrude(&mut driver, 2).await;
    let refused = |news| match news {
        News::Refused(worker, _) => Some(worker),
        News::Written(_) => None,
    };
    let told = std::iter::from_fn(|| news.try_recv().ok());
    let told: Vec<_> = told.filter_map(refused).collect();
    assert_eq!(told, [owner(1, 2), owner(1, 3), owner(1, 2)]);
}

#[tokio::test(start_paused = true)]
async fn who_is_always_overtaken_says_so() {
    let register = Contested::default();
    let mut driver = driver(register.clone()).await;
    driver.lose(&[1], Death::Refused);
    register.is_lost.store(true, Ordering::SeqCst);
    let settled = driver.settle().await;
    assert!(
        matches!(settled, Err(RegisterError::Conflict { .. })),
        "{settled:?}"
    );
    let ordered = driver.move_shard(2, &owner(3, 1).worker).await;
    let is_told = matches!(
        ordered,
        Err(OrderError::Register(RegisterError::Conflict { .. }))
    );
    assert!(is_told, "{ordered:?}");
}

#[tokio::test(start_paused = true)]
async fn whom_another_controller_has_taken_in_is_asked_before_the_platform_is_believed() {
    let (register, new) = (Contested::default(), owner(WORKERS, 1));
    let mut driver = driver(register.clone()).await;
    let present = (0..WORKERS).map(|worker| owner(worker, 1).worker);
    driver.serve(Request::Present(present.collect())).await;
    driver.lose(&[1], Death::Refused);
    let stored = register.read().await.unwrap().unwrap();
    let mut entries: Vec<_> = stored.entries().map(|(_, entry)| entry.clone()).collect();
    entries[1] = Entry::new(new.clone(), epoch(2));
    let mut addresses = stored.addresses().clone();
    addresses.insert(new.clone(), "127.0.0.1:1".to_owned());
    let given = map(stored.version(), entries).with_addresses(addresses);
    register.others.set(Arc::new(given)).unwrap();
    register.is_contested.store(true, Ordering::SeqCst);
    assert_eq!(driver.owners().await[1], new, "nobody has asked it");
    driver.hear(&new, Sign::Silent);
    assert_ne!(driver.owners().await[1], new);
}
