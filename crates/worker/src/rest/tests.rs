//! Who asks an upstream that stays away, and what becomes of the pauses.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::{advance, timeout};

use super::*;
use crate::pause::{FIRST_REOPEN, longer};
use crate::upstream::UpstreamError;
use crate::upstream::fake::upstream;

/// Nobody listens there.
pub(crate) const NOBODY: &str = "http://127.0.0.1:1/mcp";

/// Once it rests, each stream asks for itself within this time.
const TURN: Duration = LONGEST.saturating_add(LOOK).saturating_add(SPREAD);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn down() -> UpstreamError {
    UpstreamError::Unreachable("refused".to_owned())
}

/// How long ago somebody asked the upstream in vain.
fn asked_ago(upstream: &Upstream) -> Duration {
    let last = upstream.health().last_error.expect("it was asked");
    Duration::from_secs(last.seconds_ago)
}

/// Sees that `following`, which opens a stream at an upstream where nobody listens again
/// and again, asks it no more once it stays away, and soon when it is said to be back.
pub(crate) async fn is_left_alone(upstream: &Upstream, following: impl Future<Output = ()>) {
    let mut following = pin!(following);
    let over = timeout(LONGEST, &mut following).await.is_ok();
    assert!(!over, "it is opened as long as somebody listens");
    assert!(asked_ago(upstream) > LONGEST / 2, "others ask it");
    upstream.answered();
    let over = timeout(MINUTE, &mut following).await.is_ok();
    assert!(!over && asked_ago(upstream) <= MINUTE, "it was back");
}

/// Opens a stream again and again that ends at once.
async fn ask(upstream: &Upstream, pauses: &Pauses, asked: &AtomicUsize) {
    loop {
        asked.fetch_add(1, Ordering::Relaxed);
        pauses.rest(upstream).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_stays_away_is_asked_once_more_when_it_is_back() {
    let upstream = upstream(NOBODY);
    upstream.failed(&down());
    let (pauses, asked) = (Pauses::default(), AtomicUsize::new(0));
    let mut asking = pin!(ask(&upstream, &pauses, &asked));
    // After pauses of 0.5, 1, 2, 4, 8 and 16 seconds.
    let growing = 7;
    for _ in 0..2 {
        assert!(timeout(LONGEST / 2, &mut asking).await.is_err());
        assert_eq!(asked.load(Ordering::Relaxed), growing);
    }
    // An answer counts, whoever fails after it.
    upstream.answered();
    upstream.failed(&down());
    assert!(timeout(LOOK + SPREAD, &mut asking).await.is_err());
    assert_eq!(asked.load(Ordering::Relaxed), growing + 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_never_answers_is_asked_by_each_now_and_then() {
    let upstream = upstream(NOBODY);
    let pauses = grown(&upstream).await;
    upstream.failed(&down());
    for _ in 0..3 {
        assert!(timeout(LONGEST, pauses.rest(&upstream)).await.is_err());
        assert!(timeout(TURN, pauses.rest(&upstream)).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_served_no_more_is_not_waited_for() {
    let upstream = upstream(NOBODY);
    let pauses = grown(&upstream).await;
    upstream.failed(&down());
    let mut resting = pin!(pauses.rest(&upstream));
    assert!(timeout(LONGEST, &mut resting).await.is_err());
    upstream.retire();
    assert!(timeout(LOOK + SPREAD, &mut resting).await.is_ok());
}

/// Pauses that have grown to their limit, at an upstream that is not known to be away.
async fn grown(upstream: &Upstream) -> Pauses {
    let pauses = Pauses::default();
    for _ in 0..10 {
        pauses.rest(upstream).await;
    }
    pauses
}

/// Whether the next pause is the first one again.
async fn is_short(pauses: &Pauses, upstream: &Upstream) -> bool {
    let since = Instant::now();
    pauses.rest(upstream).await;
    since.elapsed() < FIRST_REOPEN * 2
}

#[tokio::test(start_paused = true)]
async fn a_long_pause_is_no_life() {
    let upstream = upstream(NOBODY);
    let pauses = grown(&upstream).await;
    advance(HOUR).await;
    assert!(!is_short(&pauses, &upstream).await);
    let successor = pauses.successor();
    let first = successor.0.lock().growth.pause(Duration::ZERO);
    assert_eq!(first, longer(FIRST_REOPEN));
}

#[tokio::test(start_paused = true)]
async fn after_a_long_life_the_next_pause_is_short_at_once() {
    let upstream = upstream(NOBODY);
    let pauses = grown(&upstream).await;
    // Opened anew in between, without a pause.
    for _ in 0..2 {
        let living = pauses.living();
        advance(LAST_REOPEN - LOOK).await;
        drop(living);
    }
    assert!(is_short(&pauses, &upstream).await);
}

#[tokio::test(start_paused = true)]
async fn after_a_short_life_pauses_go_on_growing_unless_it_did_its_work() {
    let upstream = upstream(NOBODY);
    let pauses = grown(&upstream).await;
    let living = pauses.living();
    advance(LAST_REOPEN - LOOK).await;
    drop(living);
    assert!(!is_short(&pauses, &upstream).await);
    pauses.begin_anew();
    assert!(is_short(&pauses, &upstream).await);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_lost_is_renewed_as_soon_as_those_before_let_it() {
    let upstream = upstream(NOBODY);
    let pauses = grown(&upstream).await;
    pauses.lose_session();
    assert!(is_short(&pauses, &upstream).await);
    let mut growth = pauses.successor().0.lock().growth;
    growth.begin_anew();
    growth.lose_session();
    assert_eq!(growth.pause(Duration::ZERO), FIRST_REOPEN, "it works");
    growth.lose_session();
    assert_eq!(growth.pause(Duration::ZERO), longer(FIRST_REOPEN));
    growth.lose_session();
    assert_eq!(growth.pause(Duration::ZERO), longer(FIRST_REOPEN));
}

#[tokio::test(start_paused = true)]
async fn who_takes_the_place_of_one_that_lived_for_long_begins_anew() {
    let first = Pauses::default();
    for is_over in [false, true] {
        let pauses = first.successor();
        let living = pauses.living();
        advance(MINUTE).await;
        let living = (!is_over).then_some(living);
        assert_eq!(pauses.successor().0.lock().growth, Growth::default());
        drop(living);
    }
}
