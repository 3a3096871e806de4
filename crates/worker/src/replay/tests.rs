use super::*;
use hexagram_core::StreamKind;
use proptest::prelude::*;

const SMALL: Limits = Limits {
    messages: 8,
    bytes: 64,
    age: Duration::from_secs(10),
};

fn stream(number: u64) -> StreamId {
    StreamId {
        kind: StreamKind::Call,
        epoch: 1,
        number,
    }
}

/// What a test says: on which stream, how much, whether it is the last, and
/// how many seconds later.
#[derive(Debug, Clone)]
struct Saying {
    stream: u64,
    size: usize,
    last: bool,
    later: u64,
}

fn sayings() -> impl Strategy<Value = Vec<Saying>> {
    let one = (0..3u64, 0..40usize, any::<bool>(), 0..4u64);
    let one = one.prop_map(|(stream, size, last, later)| Saying {
        stream,
        size,
        last,
        later,
    });
    proptest::collection::vec(one, 0..60)
}

/// Says it all; gives the replay, all that was said, and the time of the end.
fn say(sayings: &[Saying]) -> (Replay, Vec<Said>, Instant) {
    let mut replay = Replay::new(SMALL);
    let mut all = Vec::new();
    let mut now = Instant::now();
    for (seq, saying) in (1..).zip(sayings) {
        now += Duration::from_secs(saying.later);
        let said = Said {
            id: stream(saying.stream).event(seq),
            message: vec![b'x'; saying.size].into(),
            last: saying.last,
            at: now,
        };
        replay.append(said.id, said.message.clone(), said.last, now);
        all.push(said);
    }
    (replay, all, now)
}

proptest! {
    #[test]
    fn limits_hold_and_the_newest_is_there(sayings in sayings()) {
        let (replay, all, now) = say(&sayings);
        let bytes: usize = replay.said.iter().map(|said| said.message.len()).sum();
        prop_assert_eq!(bytes, replay.bytes);
        prop_assert!(replay.said.len() <= SMALL.messages);
        prop_assert!(bytes <= SMALL.bytes || replay.said.len() == 1);
        prop_assert!(replay.said.iter().all(|said| now.duration_since(said.at) <= SMALL.age));
        prop_assert_eq!(replay.said.back(), all.last());
    }

    #[test]
    fn a_replay_is_what_was_said_behind_the_position_in_order(
        sayings in sayings(), number in 0..3u64, seq in 0..60u64,
    ) {
        let (replay, all, _) = say(&sayings);
        let behind = replay.after(stream(number).event(seq));
        let kept = |said: &&Said| replay.said.contains(said);
        let expected: Vec<_> = all
            .iter()
            .filter(|said| said.id.stream == stream(number) && said.id.seq > seq)
            .filter(kept)
            .cloned()
            .collect();
        prop_assert_eq!(behind, expected);
    }

    #[test]
    fn within_the_limits_nothing_is_lost(sizes in proptest::collection::vec(0..8usize, 0..8)) {
        let sayings: Vec<_> = sizes
            .iter()
            .map(|size| Saying { stream: 0, size: *size, last: false, later: 1 })
            .collect();
        let (replay, all, _) = say(&sayings);
        prop_assert_eq!(replay.after(stream(0).event(0)), all);
    }

    #[test]
    fn all_expires_and_a_forgotten_stream_leaves_the_others(sayings in sayings()) {
        let (mut replay, _, now) = say(&sayings);
        let others = replay.said.iter().filter(|said| said.id.stream != stream(1)).count();
        replay.forget(stream(1));
        prop_assert_eq!(replay.said.len(), others);
        replay.expire(now + SMALL.age + Duration::from_secs(1));
        prop_assert!(replay.is_empty());
        prop_assert_eq!(replay.bytes, 0);
    }
}

#[test]
fn chatter_goes_before_responses() {
    let mut replay = Replay::new(SMALL);
    let now = Instant::now();
    replay.append(
        stream(0).event(1),
        Bytes::from_static(b"response"),
        true,
        now,
    );
    for seq in 1..100 {
        replay.append(
            stream(1).event(seq),
            Bytes::from_static(b"chatter"),
            false,
            now,
        );
    }
    let kept = replay.after(stream(0).event(0));
    assert_eq!(kept.len(), 1);
    assert!(kept[0].last);
}

#[test]
fn a_message_over_the_limit_is_kept_alone() {
    let mut replay = Replay::new(SMALL);
    let now = Instant::now();
    replay.append(stream(0).event(1), Bytes::from_static(b"small"), true, now);
    replay.append(stream(0).event(2), vec![b'x'; 1000].into(), true, now);
    let kept = replay.after(stream(0).event(0));
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].id.seq, 2);
}
