//! Rotations step by step, and at random with pods that lag, come and go, and hands that
//! help.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const DAY: u64 = 86_400;
const TIMES: KeyTimes = KeyTimes {
    period: Duration::from_secs(90 * DAY),
    settle: Duration::from_secs(300),
    lifetime: Duration::from_secs(DAY),
};
/// After its last minting a key opens for so long.
const KEPT: u64 = DAY + 3600;

/// A Secret, and workers that follow it or do not.
struct Scene {
    ring: KeyRing,
    history: History,
    asked: bool,
    heard: Heard,
    now: u64,
    times: KeyTimes,
    /// Makes keys.
    made: u8,
}

impl Scene {
    fn new() -> Self {
        let mut scene = Self {
            ring: KeyRing::generate(1, [0; 32]),
            history: History::default(),
            asked: false,
            heard: Heard::new(),
            now: 1_800_000_000,
            times: TIMES,
            made: 0,
        };
        scene.follow("a");
        scene.follow("b");
        scene
    }

    /// A worker and its edges have the ring.
    fn follow(&mut self, pod: &str) {
        self.report(pod, Vec::new());
    }

    /// A worker has the ring, and some edge of it all but these keys.
    fn report(&mut self, pod: &str, lacked: Vec<u64>) {
        let keys = self.ring.fingerprints();
        let held = Some(Held { keys, lacked });
        self.heard.insert(pod.to_owned(), held);
    }

    fn follow_all(&mut self) {
        for pod in self.heard.clone().keys() {
            self.follow(pod);
        }
    }

    fn decide(&self) -> Decision {
        let keys = self.ring.fingerprints();
        let situation = Situation {
            keys: &keys,
            history: &self.history,
            asked: self.asked,
            heard: &self.heard,
            now: self.now,
            times: self.times,
        };
        situation.decide()
    }

    /// Looks, and does what is to be done.
    fn look(&mut self) -> Option<Step> {
        let decision = self.decide();
        self.history = decision.history;
        if let Some(step) = decision.step {
            self.made += 1;
            let ring = self.ring.clone();
            self.ring = step.taken(ring, &mut self.history, [self.made; 32], self.now);
            self.asked &= step != Step::Add;
        }
        decision.step
    }

    fn after(&mut self, seconds: u64) -> Option<Step> {
        self.now += seconds;
        self.look()
    }

    fn stage(&self, key: u64) -> Option<Stage> {
        self.history.0.get(&key).map(|since| since.stage)
    }

    fn minting(&self) -> u64 {
        self.ring.fingerprints()[0]
    }
}

#[test]
fn a_rotation_goes_step_by_step() {
    let mut scene = Scene::new();
    let old = scene.minting();
    assert_eq!(scene.look(), None);
    assert_eq!(scene.after(90 * DAY - 1), None);
    assert_eq!(scene.after(1), Some(Step::Add));
    let new = scene.ring.fingerprints()[1];
    assert_eq!(scene.minting(), old);
    scene.follow_all();
    assert_eq!(scene.after(299), None, "it may not be mounted everywhere");
    assert_eq!(scene.after(1), Some(Step::Mint(new)));
    assert_eq!(scene.ring.fingerprints(), [new, old]);
    assert_eq!(scene.after(KEPT), None, "nobody has taken it over");
    assert_eq!(scene.stage(old), Some(Stage::Leaves));
    scene.follow_all();
    assert_eq!(scene.after(1), None);
    assert_eq!(scene.stage(old), Some(Stage::Left));
    assert_eq!(scene.after(KEPT - 1), None);
    assert_eq!(scene.after(1), Some(Step::Drop(old)));
    assert_eq!(scene.ring.fingerprints(), [new]);
    scene.follow_all();
    assert_eq!(scene.look(), None);
    assert_eq!(scene.history.to_string().matches("mints").count(), 1);
}

#[test]
fn nobody_mints_before_everybody_opens() {
    let mut scene = Scene::new();
    scene.asked = true;
    assert_eq!(scene.look(), Some(Step::Add));
    assert!(!scene.asked);
    let new = scene.ring.fingerprints()[1];
    scene.follow("a");
    assert_eq!(scene.after(10 * DAY), None);
    let wait = scene.decide().wait.unwrap();
    assert!(wait.on.ends_with(": b") && wait.since > LATE, "{wait:?}");
    scene.follow("b");
    scene.heard.insert("c".to_owned(), None);
    assert_eq!(scene.look(), None, "a silent worker may have another ring");
    scene.follow("c");
    let lacks = |scene: &mut Scene, lacked| {
        let held = scene.heard.get_mut("c").and_then(Option::as_mut);
        held.unwrap().lacked = lacked;
    };
    lacks(&mut scene, vec![new]);
    assert_eq!(scene.look(), None, "an edge lacks it");
    lacks(&mut scene, Vec::new());
    assert_eq!(scene.decide().step, Some(Step::Mint(new)));
    scene.heard.clear();
    assert_eq!(scene.look(), None, "there is nobody to ask");
}

#[test]
fn without_a_period_a_ring_is_peoples_own() {
    let mut scene = Scene::new();
    scene.times.period = Duration::ZERO;
    scene.ring = scene.ring.with_another([9; 32]).unwrap();
    for _ in 0..3 {
        assert_eq!(scene.after(1000 * DAY), None);
        assert_eq!(scene.history, History::default());
    }
    scene.asked = true;
    let old = scene.minting();
    scene.follow_all();
    scene.look();
    assert_eq!(
        scene.ring.fingerprints().len(),
        2,
        "what is there comes first"
    );
    let mut steps = Vec::new();
    for _ in 0..20 {
        scene.follow_all();
        steps.extend(scene.after(DAY / 4));
    }
    assert_eq!(scene.ring.fingerprints().len(), 1, "{steps:?}");
    assert_ne!(scene.minting(), old);
    assert_eq!(steps.len(), 4, "{steps:?}");
    let before = scene.history.clone();
    scene.ring = scene.ring.with_another([8; 32]).unwrap();
    assert_eq!(scene.after(1000 * DAY), None);
    assert_eq!(scene.history, before, "theirs again");
}

#[test]
fn a_hand_may_go_ahead_and_back() {
    let mut scene = Scene::new();
    scene.asked = true;
    scene.look();
    let [old, new] = scene.ring.fingerprints()[..] else {
        panic!("two keys")
    };
    scene.ring = scene.ring.clone().minting(new);
    scene.follow_all();
    assert_eq!(scene.after(300), None);
    assert_eq!(scene.stage(new), Some(Stage::Mints));
    assert_eq!(scene.stage(old), Some(Stage::Leaves));
    scene.after(300);
    assert_eq!(scene.stage(old), Some(Stage::Left));
    scene.ring = scene.ring.clone().minting(old);
    assert_eq!(scene.after(2 * KEPT), None);
    assert_eq!(scene.stage(new), Some(Stage::Leaves));
    scene.follow_all();
    scene.after(300);
    scene.ring = scene.ring.clone().without(new);
    assert_eq!(scene.after(1), None);
    assert_eq!(scene.stage(new), None);
}

#[test]
fn a_key_that_somebody_mints_with_again_stays() {
    let mut scene = Scene::new();
    scene.look();
    let older = scene.ring.with_another([7; 32]).unwrap();
    let old = older.fingerprints()[1];
    scene.ring = older;
    scene.follow_all();
    scene.look();
    scene.after(300);
    assert_eq!(scene.stage(old), Some(Stage::Left));
    let late = Held {
        keys: vec![old],
        lacked: Vec::new(),
    };
    scene.heard.insert("late".to_owned(), Some(late));
    assert_eq!(scene.after(10 * DAY), None);
    scene.heard.remove("late");
    assert_eq!(scene.after(KEPT - 1), None);
    assert_eq!(scene.after(KEPT), Some(Step::Drop(old)));
}

#[test]
fn a_full_ring_waits_and_says_so() {
    let mut scene = Scene::new();
    for key in 1..8 {
        scene.ring = scene.ring.with_another([100 + key; 32]).unwrap();
    }
    scene.follow_all();
    scene.look();
    scene.after(300);
    scene.asked = true;
    assert_eq!(scene.look(), None);
    assert!(scene.decide().wait.unwrap().on.contains("full"));
    assert!(matches!(scene.after(KEPT), Some(Step::Drop(_))));
}

#[test]
fn a_key_that_is_taken_back_is_not_added_again_and_again() {
    let mut scene = Scene::new();
    scene.look();
    let theirs = scene.ring.clone();
    assert_eq!(scene.after(90 * DAY), Some(Step::Add));
    let new = scene.ring.fingerprints()[1];
    scene.ring = theirs;
    scene.now += 10;
    assert_eq!(scene.decide().taken_back, [(new, Stage::Added)]);
    assert_eq!(scene.look(), None);
    assert!(scene.decide().taken_back.is_empty(), "it is told once");
    assert_eq!(scene.after(90 * DAY - 1), None);
    assert_eq!(scene.after(1), Some(Step::Add));
}

#[test]
fn a_key_that_is_taken_back_after_it_minted_is_seen() {
    let mut scene = Scene::new();
    scene.asked = true;
    let theirs = scene.ring.clone();
    scene.look();
    let new = scene.ring.fingerprints()[1];
    scene.follow_all();
    assert_eq!(scene.after(300), Some(Step::Mint(new)));
    scene.ring = theirs;
    scene.now += 10;
    assert_eq!(scene.decide().taken_back, [(new, Stage::Mints)]);
    assert_eq!(scene.look(), None);
    assert!(scene.decide().taken_back.is_empty(), "it is told once");
    assert_eq!(scene.after(90 * DAY - 1), None);
}

#[test]
fn what_the_operator_or_a_hand_drops_is_not_taken_back() {
    let mut scene = Scene::new();
    let [left, leaves] = [7, 8].map(|key| {
        scene.ring = scene.ring.with_another([key; 32]).unwrap();
        *scene.ring.fingerprints().last().unwrap()
    });
    scene.follow_all();
    scene.look();
    scene.ring = scene.ring.clone().without(leaves);
    assert!(scene.decide().taken_back.is_empty());
    scene.after(300);
    assert_eq!(scene.after(KEPT), Some(Step::Drop(left)));
    assert!(scene.decide().taken_back.is_empty());
}

#[test]
fn a_clock_that_is_put_back_drops_nothing() {
    let mut scene = Scene::new();
    scene.ring = scene.ring.with_another([7; 32]).unwrap();
    scene.follow_all();
    scene.look();
    scene.now -= 1000 * DAY;
    for _ in 0..10 {
        scene.follow_all();
        assert_eq!(scene.after(DAY), None);
    }
}

/// What happens beside the operator's looks.
#[derive(Clone, Debug)]
enum Event {
    /// Time passes.
    Passes(u64),
    /// A pod and its edges have what the Secret holds.
    Follows(usize),
    /// A pod has it, and an edge of it lacks the newest key.
    Lacks(usize),
    /// A pod does not answer.
    Silent(usize),
    /// A pod is gone.
    Gone(usize),
    /// Somebody asks.
    Asked,
    /// A hand has a key mint.
    Minting(usize),
    /// A hand adds one.
    Added,
    /// A hand, or a tool, takes one out.
    Taken(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0..2 * DAY).prop_map(Event::Passes),
        2 => (0..600_u64).prop_map(Event::Passes),
        6 => (0..4_usize).prop_map(Event::Follows),
        2 => (0..4_usize).prop_map(Event::Lacks),
        1 => (0..4_usize).prop_map(Event::Silent),
        1 => (0..4_usize).prop_map(Event::Gone),
        1 => Just(Event::Asked),
        1 => (0..8_usize).prop_map(Event::Minting),
        1 => Just(Event::Added),
        1 => (1..8_usize).prop_map(Event::Taken),
    ]
}

impl Scene {
    fn happens(&mut self, event: &Event) {
        let pod = |number: &usize| ["a", "b", "c", "d"][*number].to_owned();
        match event {
            Event::Passes(seconds) => self.now += seconds,
            Event::Follows(number) => self.follow(&pod(number)),
            Event::Lacks(number) => {
                let newest = self.ring.fingerprints().pop();
                self.report(&pod(number), newest.into_iter().collect());
            }
            Event::Silent(number) => drop(self.heard.insert(pod(number), None)),
            Event::Gone(number) => drop(self.heard.remove(&pod(number))),
            Event::Asked => self.asked = true,
            Event::Minting(place) => {
                let keys = self.ring.fingerprints();
                self.ring = self.ring.clone().minting(keys[place % keys.len()]);
            }
            Event::Added => {
                self.made += 1;
                let more = self.ring.with_another([self.made; 32]);
                self.ring = more.unwrap_or_else(|| self.ring.clone());
            }
            Event::Taken(place) => {
                let keys = self.ring.fingerprints();
                self.ring = self.ring.clone().without(keys[place % keys.len()]);
            }
        }
    }

    fn minted_now(&self) -> Vec<u64> {
        let held = self.heard.values().flatten();
        let first = held.filter_map(|held| held.keys.first().copied());
        first.chain([self.minting()]).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Whatever happens, the operator has no key mint that somebody lacks or may not have
    /// mounted yet, and drops none that was minted with within the lifetime.
    #[test]
    fn no_step_is_too_soon(events in prop::collection::vec(event(), 1..80)) {
        let mut scene = Scene::new();
        // When each key was last seen to mint.
        let mut minted = BTreeMap::new();
        // When the operator added each key.
        let mut added = BTreeMap::new();
        for event in &events {
            scene.happens(event);
            for key in scene.minted_now() {
                minted.insert(key, scene.now);
            }
            let before = scene.ring.fingerprints();
            match scene.look() {
                Some(Step::Mint(key)) => {
                    for held in scene.heard.values() {
                        let held = held.clone().unwrap_or_default();
                        prop_assert!(held.keys.contains(&key) && !held.lacked.contains(&key));
                    }
                    let since = added.get(&key).copied().unwrap_or(scene.now);
                    let settled = scene.now - since;
                    prop_assert!(settled >= TIMES.settle.as_secs(), "{settled} s");
                }
                Some(Step::Drop(key)) => {
                    prop_assert_ne!(before[0], key);
                    let last = minted.get(&key).copied().unwrap_or_default();
                    prop_assert!(scene.now - last >= KEPT, "{} s", scene.now - last);
                }
                Some(Step::Add) => {
                    prop_assert_eq!(scene.minting(), before[0]);
                    added.insert(scene.ring.fingerprints()[before.len()], scene.now);
                }
                None => prop_assert_eq!(scene.ring.fingerprints(), before),
            }
        }
    }

    /// However things stand, once all follow and no hand helps one key is left, another one
    /// than before.
    #[test]
    fn every_rotation_ends(events in prop::collection::vec(event(), 0..40)) {
        let mut scene = Scene::new();
        for event in &events {
            scene.happens(event);
            scene.look();
        }
        scene.follow("a");
        scene.asked = true;
        let mut seen = BTreeSet::new();
        // A look an hour, for eight days.
        for _ in 0..192 {
            scene.follow_all();
            scene.after(3600);
            seen.insert(scene.minting());
        }
        prop_assert!(!scene.asked);
        prop_assert!(seen.len() >= 2, "{:?}", scene.history);
        prop_assert_eq!(scene.ring.fingerprints().len(), 1, "{}", scene.history);
    }
}
