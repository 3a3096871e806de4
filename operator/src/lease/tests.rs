use std::pin::pin;

use http::Method;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::client::PATIENCE;
use crate::testing::{Answer, Asked, place, refusal};

const ME: &str = "me";

#[test]
fn only_a_free_or_forgotten_lease_is_taken() {
    let young = LENGTH - Duration::from_millis(1);
    assert_eq!(turn(None, "me", Duration::ZERO), Turn::Take);
    assert_eq!(turn(Some("me"), "me", Duration::ZERO), Turn::Take);
    assert_eq!(turn(Some("you"), "me", young), Turn::Wait("you".to_owned()));
    assert_eq!(turn(Some("you"), "me", LENGTH), Turn::Take);
}

#[test]
fn a_released_lease_has_no_holder() {
    let mut lease = Lease::default();
    assert_eq!(holder(&lease), None);
    lease.spec.get_or_insert_default().holder_identity = Some(String::new());
    assert_eq!(holder(&lease), None);
}

/// A lease of `holder`, as the API server gives it.
fn of(holder: &str) -> Answer {
    let mut lease = Lease::default();
    lease.metadata.name = Some("hexagram".to_owned());
    lease.metadata.resource_version = Some("7".to_owned());
    lease.spec.get_or_insert_default().holder_identity = Some(holder.to_owned());
    Some((200, serde_json::to_value(lease).unwrap()))
}

fn written(asked: &Asked) -> Answer {
    Some((200, asked.body.clone()))
}

fn candidate(answer: impl FnMut(&Asked) -> Answer + Send + 'static) -> Candidate {
    Candidate::new(&place(answer), "hexagram", ME)
}

/// Mine, in an API server that answers to the writes one after the other so, and to all
/// further ones that they are done; what they want to write is heard.
fn mine<const N: usize>(answers: [Answer; N]) -> (Candidate, mpsc::Receiver<Value>) {
    let (tell, writes) = mpsc::channel(16);
    let mut answers = answers.into_iter();
    let candidate = candidate(move |asked| {
        if asked.method == Method::GET {
            return of(ME);
        }
        tell.try_send(asked.body.clone()).unwrap();
        answers.next().unwrap_or_else(|| written(asked))
    });
    (candidate, writes)
}

#[tokio::test(start_paused = true)]
async fn whose_renewal_failed_renews_before_the_lease_is_free() {
    for failure in [None, refusal(500), refusal(409)] {
        let (candidate, mut writes) = mine([failure]);
        let twice = async {
            writes.recv().await.unwrap();
            writes.recv().await.unwrap();
        };
        tokio::select! {
            holder = candidate.keep() => panic!("{holder} has it"),
            in_time = timeout(LENGTH, twice) => in_time.unwrap(),
        }
    }
    assert!(RENEW + 2 * PATIENCE + AGAIN < LENGTH);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_comes_back_leaves_the_holder_time_to_renew() {
    let away = Duration::from_secs(10)..Duration::from_secs(10) + 2 * LENGTH;
    let (start, back) = (Instant::now(), away.end);
    let candidate = candidate(move |asked| match asked.method {
        _ if away.contains(&start.elapsed()) => refusal(503),
        Method::GET => of("you"),
        _ => written(asked),
    });
    let mut leads = pin!(candidate.lead(|_| {}));
    let counted = Duration::from_secs(10);
    let too_soon = timeout(back + LENGTH - counted - 2 * LOOK, &mut leads).await;
    assert!(too_soon.is_err(), "after {:?}", start.elapsed());
    timeout(LENGTH, leads).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lease_whose_holder_is_gone_is_taken_though_every_third_look_fails() {
    let (start, mut looks) = (Instant::now(), 0);
    let candidate = candidate(move |asked| {
        if asked.method != Method::GET {
            return written(asked);
        }
        looks += 1;
        match looks % 3 {
            0 => refusal(500),
            _ => of("you"),
        }
    });
    let most = LENGTH * 3 / 2 + 5 * LOOK;
    timeout(most, candidate.lead(|_| {})).await.unwrap();
    assert!(start.elapsed() >= LENGTH, "after {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_comes_in_between_does_not_keep_the_lease() {
    for failure in [None, refusal(409)] {
        let (candidate, mut writes) = mine([failure]);
        timeout(LENGTH, candidate.release()).await.unwrap();
        for _ in 0..2 {
            let lease = serde_json::from_value(writes.try_recv().unwrap()).unwrap();
            assert_eq!(holder(&lease), None);
        }
        assert!(writes.try_recv().is_err(), "it is released already");
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_not_release_the_lease_does_not_ask_again() {
    let (candidate, mut writes) = mine([refusal(403)]);
    candidate.release().await;
    assert!(writes.try_recv().is_ok());
    assert!(writes.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_keeps_nobody_from_ending() {
    let candidate = candidate(|_| None);
    let most = FAREWELL + 2 * PATIENCE;
    timeout(most, candidate.release()).await.unwrap();
}
