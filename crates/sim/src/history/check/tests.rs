//! For every invariant a history in which it holds, and one that differs in one thing
//! and breaks it.

use std::time::Duration;

use super::{Invariant, Limits, check};
use crate::history::{Asked, Event, Exchange, History, Outcome, Run, Step, Told};

const LIMITS: Limits = Limits {
    freeze: Duration::from_millis(250),
    moving: Duration::from_secs(10),
    grace: Duration::from_secs(5),
    healing: Duration::from_secs(20),
    slack: Duration::ZERO,
};

/// A shard that moves from a to b and has its last owner lost, and an edge that hears
/// of it. Milliseconds, who, what, shard, epoch, whom.
const STEPS: &str = "
    0 r#1 first 3 7 a#1
    1 a#1 activated 3 7
    2 e#1 seen 3 7
    10 a#1 admitted 3 7 c0.1
    20 a#1 admitted 3 7 c0.2
    100 r#1 planned 3 8 b#1
    110 a#1 frozen 3 8
    111 a#1 resumed 3 7
    120 r#1 aborted 3 8
    130 a#1 admitted 3 7 c0.3
    200 r#1 planned 3 9 b#1
    205 a#1 asked
    210 a#1 frozen 3 9
    220 a#1 granted 3 9
    230 b#1 activated 3 9
    240 a#1 left 3 9
    245 e#1 seen 3 9
    250 r#1 committed 3 9 b#1
    255 a#1 ended
    260 b#1 admitted 3 9 c0.4
    270 b#1 admitted 3 9 c0.5
    300 b#1 crashed
    310 r#1 failed-over 3 10 d#1
    320 d#1 activated 3 10
    330 d#1 admitted 3 10 c0.6
";

/// What the client of those requests saw. Who, session, id, when it sent it, when it
/// heard of it, what it asked, and what it heard.
const TALK: &str = "
    0 1 c0.1 5 12 open answered
    0 1 c0.2 15 30 level:warning answered
    0 1 c0.3 125 140 call answered:warning,error
    0 1 c0.4 150 265 call answered:error
    0 1 c0.5 268 305 call unknown
    0 1 c0.5b 306 312 call gone
    0 2 c0.6 325 335 open answered
    0 2 c0.7 340 350 delete answered
    0 2 c0.8 360 365 call gone
    1 - c1.1 300 360 call broken
    1 - c1.2 400 410 call answered
";

fn ms(text: &str) -> Duration {
    Duration::from_millis(text.parse().unwrap())
}

fn event(line: &str) -> Event {
    let words: Vec<_> = line.split_whitespace().collect();
    let (host, life) = words[1].split_once('#').unwrap();
    let shard = words.get(3).map_or(0, |word| word.parse().unwrap_or(0));
    let epoch = words.get(4).map_or(0, |word| word.parse().unwrap_or(0));
    let last = words.last().map(|word| (*word).to_owned()).unwrap();
    let told = || Told {
        step: words[2].to_owned(),
        shard,
        epoch,
        id: last.clone(),
        owner: last.clone(),
    };
    let step = match words[2] {
        "asked" => Step::Asked,
        "ended" => Step::Ended,
        "crashed" => Step::Crashed { machine: false },
        _ => told().step().unwrap(),
    };
    Event {
        at: ms(words[0]),
        host: host.to_owned(),
        life: life.parse().unwrap(),
        step,
    }
}

fn exchange(line: &str) -> Exchange {
    let words: Vec<_> = line.split_whitespace().collect();
    let asked = match words[5].split_once(':') {
        Some((_, level)) => Asked::SetLevel(level.to_owned()),
        None if words[5] == "open" => Asked::Open,
        None if words[5] == "delete" => Asked::Delete,
        None => Asked::Call,
    };
    let (outcome, heard) = words[6].split_once(':').unwrap_or((words[6], ""));
    let outcome = match outcome {
        "answered" => {
            let heard = heard.split(',').filter(|level| !level.is_empty());
            Outcome::Answered(heard.map(str::to_owned).collect())
        }
        "refused" => Outcome::Refused(-32011),
        "unknown" => Outcome::Unknown,
        "gone" => Outcome::Gone,
        "forgot" => Outcome::Forgot("it".to_owned()),
        "broken" => Outcome::Broken,
        _ => Outcome::Silent,
    };
    Exchange {
        client: words[0].parse().unwrap(),
        session: words[1].parse().ok(),
        id: words[2].to_owned(),
        asked,
        edge: if words[0] == "1" { "e" } else { "f" }.to_owned(),
        connected: ms(words[3]),
        sent: ms(words[3]),
        ended: Some(ms(words[4])),
        outcome,
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

/// A history of these steps and this talk, in which the edge `e` was killed at 350 ms.
fn history(steps: &str, talk: &str) -> History {
    let run = |id: &str, at, by: &str| Run {
        id: id.to_owned(),
        at: Duration::from_millis(at),
        by: by.to_owned(),
    };
    let mut events: Vec<_> = lines(steps).map(event).collect();
    events.push(event("350 e#1 crashed"));
    events.push(event("390 e#2 seen 3 10"));
    events.push(event("405 d#1 admitted 3 10 c1.2"));
    History {
        exchanges: lines(talk).map(exchange).collect(),
        runs: vec![
            run("c0.3", 131, "a#1"),
            run("c0.4", 261, "b#1"),
            run("c0.5", 271, "b#1"),
            run("c1.2", 406, "d#1"),
        ],
        events,
        durable: false,
        healed: Some(Duration::from_millis(320)),
        end: Duration::from_secs(60),
    }
}

fn broken(history: &History) -> Vec<Invariant> {
    let verdict = check(history, &LIMITS);
    let found = verdict.violations.iter();
    found.map(|violation| violation.invariant).collect()
}

/// What breaks when a line becomes another, or goes.
#[track_caller]
fn changed(from: &str, to: &str) -> Vec<Invariant> {
    let text = format!("{STEPS}---{TALK}");
    assert_eq!(text.matches(from).count(), 1, "{from}");
    let text = text.replace(from, to);
    let (steps, talk) = text.split_once("---").unwrap();
    broken(&history(steps, talk))
}

#[test]
fn a_sound_history() {
    let history = history(STEPS, TALK);
    let verdict = check(&history, &LIMITS);
    assert_eq!(verdict.violations, []);
    let counts = &verdict.counts;
    assert_eq!(
        (counts.sent, counts.answered, counts.unknown, counts.gone),
        (11, 7, 1, 2)
    );
    assert_eq!((counts.cut, counts.lost, counts.twice), (1, 0, 0));
    assert_eq!((counts.moves, counts.aborted, counts.failovers), (1, 1, 1));
    assert_eq!(counts.pauses, [Duration::from_millis(20)]);
    assert_eq!(counts.healings, [Duration::from_millis(90)]);
    assert!(counts.to_string().contains("lost silently 0"));
}

#[test]
fn i1_two_owners_in_an_epoch() {
    let second = "260 b#1 admitted 3 9 c0.4";
    let broken = changed(second, "258 x#1 activated 3 9\n260 b#1 admitted 3 9 c0.4");
    assert_eq!(broken, [Invariant::I1]);
    let twice = "120 r#1 aborted 3 8\n121 r#1 committed 3 7 b#1";
    assert!(changed("120 r#1 aborted 3 8", twice).contains(&Invariant::I1));
}

#[test]
fn i2_what_was_acknowledged_is_lost() {
    let level = changed("answered:warning,error", "answered:info,warning");
    assert_eq!(level, [Invariant::I2]);
    assert_eq!(
        changed(
            "0 1 c0.4 150 265 call answered:error",
            "0 1 c0.4 150 265 call forgot"
        ),
        [Invariant::I2]
    );
    let early = "0 1 c0.4 150 265 call answered:error\n0 1 c0.4b 266 267 call gone";
    assert_eq!(
        changed("0 1 c0.4 150 265 call answered:error", early),
        [Invariant::I2],
        "gone before the owner was lost"
    );
    let mut never = history(STEPS, TALK);
    never.runs.remove(0);
    assert_eq!(broken(&never), [Invariant::I2], "answered and never run");
}

#[test]
fn i2_what_may_not_have_been_acknowledged_is_not_asked_for() {
    let unsure = changed(
        "0 1 c0.3 125 140 call answered:warning,error",
        "0 1 c0.2b 31 32 level:info unknown\n0 1 c0.3 125 140 call answered:info",
    );
    assert_eq!(unsure, []);
}

#[test]
fn i2_a_store_keeps_sessions_whose_owner_is_lost() {
    let mut kept = history(STEPS, TALK);
    kept.durable = true;
    assert_eq!(broken(&kept), [Invariant::I2]);
    let mut trouble = event("290 r#1 asked");
    trouble.step = Step::Store("down".to_owned());
    let at = kept.events.iter().position(|event| event.at > trouble.at);
    kept.events.insert(at.unwrap(), trouble);
    assert_eq!(broken(&kept), [], "unless it was away");
}

#[test]
fn i3_what_runs_twice() {
    let mut twice = history(STEPS, TALK);
    let again = Run {
        at: Duration::from_millis(332),
        ..twice.runs[2].clone()
    };
    twice.runs.push(again);
    assert_eq!(broken(&twice), [Invariant::I3]);
    assert_eq!(check(&twice, &LIMITS).counts.twice, 1);
    assert_eq!(
        changed(
            "0 1 c0.5 268 305 call unknown",
            "0 1 c0.5 268 305 call refused"
        ),
        [Invariant::I3],
        "refused, and has run"
    );
}

#[test]
fn i4_epochs_that_go_back() {
    let edge = "245 e#1 seen 3 9";
    assert_eq!(changed(edge, "245 e#1 seen 3 6"), [Invariant::I4]);
    let register = "310 r#1 failed-over 3 10 d#1";
    let back = changed(
        register,
        "310 r#1 failed-over 3 10 d#1\n311 r#1 failed-over 3 9 b#1",
    );
    assert_eq!(back, [Invariant::I4]);
    let worker = "320 d#1 activated 3 10";
    let again = changed(worker, "320 d#1 activated 3 10\n321 d#1 activated 3 10");
    assert_eq!(again, [Invariant::I4]);
}

#[test]
fn i5_what_is_undone() {
    let granted = "220 a#1 granted 3 9";
    let resumed = changed(
        granted,
        "220 a#1 granted 3 9\n221 a#1 resumed 3 7\n222 a#1 admitted 3 7 x",
    );
    assert_eq!(resumed, [Invariant::I5]);
    assert!(changed("111 a#1 resumed 3 7", "111 a#1 resumed 3 8").contains(&Invariant::I5));
    assert_eq!(changed("210 a#1 frozen 3 9\n", ""), [Invariant::I5]);
}

#[test]
fn i6_what_is_admitted_out_of_order() {
    let later = "330 d#1 admitted 3 10 c0.6";
    let again = |what| changed(later, &format!("330 d#1 admitted 3 10 c0.6\n{what}"));
    assert_eq!(again("331 d#1 admitted 3 10 c0.3"), [Invariant::I6]);
    // By b, which does not know yet that it has a successor.
    let crash = "300 b#1 crashed";
    let late = changed(crash, "305 b#1 admitted 3 9 c0.3\n306 b#1 crashed");
    assert_eq!(late, [Invariant::I6], "b admitted c0.4 in the same epoch");
    let zombie = "331 z#1 activated 3 11\n332 z#1 admitted 3 11 c0.7\n333 d#1 admitted 3 10 c0.6";
    assert_eq!(again(zombie), [], "under an epoch that is over");
}

#[test]
fn i7_moves_that_do_not_end() {
    assert_eq!(changed("250 r#1 committed 3 9 b#1\n", ""), [Invariant::I11]);
    let forever = "330 d#1 admitted 3 10 c0.6\n335 r#1 planned 3 11 b#2";
    assert_eq!(
        changed("330 d#1 admitted 3 10 c0.6", forever),
        [Invariant::I7]
    );
    let long = changed(
        "220 a#1 granted 3 9\n    230 b#1 activated 3 9",
        "520 a#1 granted 3 9",
    );
    assert!(long.contains(&Invariant::I7));
}

#[test]
fn i8_what_runs_where_it_was_not_admitted() {
    let mut foreign = history(STEPS, TALK);
    foreign.runs[1].by = "a#1".to_owned();
    assert_eq!(broken(&foreign), [Invariant::I8]);
    let frozen = "110 a#1 frozen 3 8";
    let inside = changed(frozen, "110 a#1 frozen 3 8\n110 a#1 admitted 3 7 x");
    assert_eq!(inside, [Invariant::I8]);
    let late = history(
        &STEPS.replace(frozen, "110 a#1 frozen 3 8\n110 a#1 admitted 3 7 x"),
        TALK,
    );
    let slack = Limits {
        slack: Duration::from_millis(1),
        ..LIMITS
    };
    assert_eq!(check(&late, &slack).violations, [], "written down late");
    let later = changed(
        "260 b#1 admitted 3 9 c0.4",
        "260 b#1 admitted 3 9 c0.4\n261 b#1 admitted 3 12 x",
    );
    assert_eq!(later, [Invariant::I8]);
}

#[test]
fn i9_owners_that_stop_without_cause() {
    let mut stopped = history(STEPS, TALK);
    stopped.events.push(event("420 d#1 left 3 11"));
    assert_eq!(broken(&stopped), [Invariant::I9]);
    assert!(changed("205 a#1 asked\n", "").contains(&Invariant::I9));
}

#[test]
fn i10_what_is_lost_silently() {
    let silent = changed(
        "0 1 c0.5 268 305 call unknown",
        "0 1 c0.5 268 305 call silent",
    );
    assert_eq!(silent, [Invariant::I10]);
    let early = changed(
        "1 - c1.1 300 360 call broken",
        "1 - c1.1 300 340 call broken",
    );
    assert_eq!(early, [Invariant::I10], "broken before its edge died");
    let mut open = history(STEPS, TALK);
    open.exchanges[4].ended = None;
    open.exchanges[4].outcome = Outcome::Silent;
    assert_eq!(check(&open, &LIMITS).counts.lost, 1);
}

#[test]
fn i11_a_worker_that_ends_too_early() {
    let early = "245 e#1 seen 3 9\n    250 r#1 committed 3 9 b#1\n    255 a#1 ended";
    let swapped = "245 e#1 seen 3 9\n247 a#1 ended\n250 r#1 committed 3 9 b#1";
    assert_eq!(changed(early, swapped), [Invariant::I11]);
    let mut alone = history(STEPS, TALK);
    alone.events.push(event("420 d#1 asked"));
    alone.events.push(event("430 d#1 ended"));
    assert_eq!(broken(&alone), [], "there is nobody else");
    let mut late = history(STEPS, TALK);
    late.events.push(event("415 f#1 prepared 3 11"));
    late.events.push(event("420 d#1 asked"));
    late.events.push(event("5430 d#1 ended"));
    assert_eq!(broken(&late), [], "its grace is over");
    late.events.pop();
    late.events.push(event("5410 d#1 ended"));
    assert_eq!(broken(&late), [Invariant::I11]);
    let mut unheard = history(STEPS, TALK);
    unheard.events.push(event("415 r#1 planned 3 11 f#1"));
    unheard.events.push(event("420 f#1 asked"));
    unheard.events.push(event("430 f#1 ended"));
    unheard.events.push(event("440 r#1 aborted 3 11"));
    assert_eq!(broken(&unheard), [], "it never heard of the plan");
    unheard
        .events
        .insert(unheard.events.len() - 3, event("418 f#1 prepared 3 11"));
    assert_eq!(broken(&unheard), [Invariant::I11]);
}

#[test]
fn i12_a_deleted_session_that_answers() {
    let answers = changed(
        "0 2 c0.8 360 365 call gone",
        "0 2 c0.8 360 365 level:info answered",
    );
    assert_eq!(answers, [Invariant::I12]);
}

#[test]
fn a_client_that_is_not_served_again() {
    let never = changed("1 - c1.2 400 410 call answered\n", "");
    assert_eq!(never, [Invariant::Live]);
    let late = changed(
        "1 - c1.2 400 410 call answered",
        "1 - c1.2 400 30000 call answered",
    );
    assert_eq!(late, [Invariant::Live]);
}
