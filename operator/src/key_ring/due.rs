//! What is due: decided from the ring, since when each of its keys is what it is, what the
//! workers say of their keys, and the time.

use std::collections::BTreeMap;
use std::time::Duration;

use hexagram_core::KeyRing;

use super::history::{History, Since, Stage};

#[cfg(test)]
mod tests;

/// A key opens longer than any token of it can be presented: clocks differ, and whoever was
/// told last that it mints no more may have minted meanwhile.
const MARGIN: Duration = Duration::from_secs(3600);
/// What is waited for longer than it should take is told.
pub(super) const LATE: Duration = Duration::from_secs(600);

/// What a rotation keeps to.
#[derive(Clone, Copy, Debug)]
pub struct KeyTimes {
    /// So long a key mints; zero is until somebody asks for another.
    pub period: Duration,
    /// Nothing is built on a change of the Secret sooner: by then it is mounted everywhere,
    /// also where nobody can be asked.
    pub settle: Duration,
    /// So long a session id, and all else that is sealed, can be presented.
    pub lifetime: Duration,
}

/// What a worker says of keys, by their fingerprints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// Those that it opens with, the one that it mints with first.
    pub(crate) keys: Vec<u64>,
    /// Those of them that some edge lacks.
    pub(crate) lacked: Vec<u64>,
}

/// What the workers say, by their pods; `None` of one that does not answer.
pub(crate) type Heard = BTreeMap<String, Option<Held>>;

/// What is to be done to the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Add a key that only opens.
    Add,
    /// Have this one mint.
    Mint(u64),
    /// Remove this one.
    Drop(u64),
}

/// Why the next step is not taken although its time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) on: String,
    /// For so long.
    pub(super) since: Duration,
}

/// What comes of a look at the ring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Decision {
    /// Since when each key is what it is, before the step.
    pub(super) history: History,
    /// What somebody else took out of the ring, and what it was.
    pub(super) taken_back: Vec<(u64, Stage)>,
    pub(super) step: Option<Step>,
    pub(super) wait: Option<Wait>,
}

/// All that decides.
pub(super) struct Situation<'a> {
    /// Fingerprints of the ring, the minting key first.
    pub(super) keys: &'a [u64],
    pub(super) history: &'a History,
    /// Somebody wants another key now.
    pub(super) asked: bool,
    pub(super) heard: &'a Heard,
    /// In Unix seconds.
    pub(super) now: u64,
    pub(super) times: KeyTimes,
}

impl Situation<'_> {
    pub(super) fn decide(&self) -> Decision {
        if !self.is_kept() {
            return Decision {
                history: self.history.clone(),
                ..Decision::default()
            };
        }
        let taken_back = self.taken_back();
        let history = self.noted(!taken_back.is_empty());
        let step = self.step(&history);
        let wait = match step {
            None => self.wait(&history),
            Some(_) => None,
        };
        Decision {
            history,
            taken_back,
            step,
            wait,
        }
    }

    /// Whether the ring is looked after: not where people do that, until they ask.
    fn is_kept(&self) -> bool {
        let mut stages = self.history.0.values().map(|since| since.stage);
        !self.times.period.is_zero() || self.asked || stages.any(|stage| stage != Stage::Mints)
    }

    /// Keys that were to mint or did, and are gone: a step drops none of these.
    fn taken_back(&self) -> Vec<(u64, Stage)> {
        let known = self.history.0.iter();
        let gone = known.filter(|(key, _)| !self.keys.contains(key));
        let gone = gone.map(|(key, since)| (*key, since.stage));
        gone.filter(|(_, stage)| matches!(stage, Stage::Added | Stage::Mints))
            .collect()
    }

    /// What every key is now. One that is not known and does not mint is on its way out: it
    /// may have minted until a moment ago. After another was taken back the one that mints
    /// begins anew: the next to be added would be taken back too, look by look.
    fn noted(&self, is_taken_back: bool) -> History {
        let noted = |(place, key): (usize, &u64)| {
            let known = self.history.0.get(key).copied();
            let stage = match place {
                0 => Stage::Mints,
                _ => self.stage(*key, known),
            };
            let begins = is_taken_back && stage == Stage::Mints;
            let same = known.filter(|known| known.stage == stage && !begins);
            let at = same.map_or(self.now, |known| known.at);
            (*key, Since { stage, at })
        };
        History(self.keys.iter().enumerate().map(noted).collect())
    }

    /// What a key is that is not to mint.
    fn stage(&self, key: u64, known: Option<Since>) -> Stage {
        let Some(known) = known.filter(|_| !self.is_minted(key)) else {
            return Stage::Leaves;
        };
        match known.stage {
            Stage::Added | Stage::Left => known.stage,
            Stage::Leaves if self.has_left(known.at) => Stage::Left,
            Stage::Leaves | Stage::Mints => Stage::Leaves,
        }
    }

    /// Whether some worker mints with it.
    fn is_minted(&self, key: u64) -> bool {
        let mut held = self.heard.values().flatten();
        held.any(|held| held.keys.first() == Some(&key))
    }

    /// Whether nobody mints any more with a key that is not to mint since `at`.
    fn has_left(&self, at: u64) -> bool {
        self.is_settled(at) && self.behind(|held| self.mints_ours(held)).is_none()
    }

    fn step(&self, history: &History) -> Option<Step> {
        let over = self.times.lifetime.saturating_add(MARGIN);
        let is_over = |(_, at): &(u64, u64)| self.age(*at) >= over;
        if let Some((key, _)) = history.find(Stage::Left).find(is_over) {
            return Some(Step::Drop(key));
        }
        let is_open = |key| self.behind(|held| opens(held, key)).is_none();
        let can_mint = |(key, at): &(u64, u64)| self.is_settled(*at) && is_open(*key);
        if let Some((key, _)) = history.find(Stage::Added).find(can_mint) {
            return Some(Step::Mint(key));
        }
        (self.is_due(history) && self.has_room()).then_some(Step::Add)
    }

    /// Whether another key is to be added. One change is brought to its end before the next.
    fn is_due(&self, history: &History) -> bool {
        let period = self.times.period;
        let is_old = |(_, at)| !period.is_zero() && self.age(at) >= period;
        let rests = !history.has(Stage::Added) && !history.has(Stage::Leaves);
        rests && (self.asked || history.find(Stage::Mints).any(is_old))
    }

    fn has_room(&self) -> bool {
        self.keys.len() < KeyRing::MAX_KEYS
    }

    /// What keeps a step back whose time has come.
    fn wait(&self, history: &History) -> Option<Wait> {
        if self.is_due(history) {
            let on = "the ring is full: a key has to be dropped first".to_owned();
            // Nothing says since when: whoever looks counts.
            let since = Duration::ZERO;
            return Some(Wait { on, since });
        }
        let waiting = |(key, at), stage| {
            let behind = match stage {
                Stage::Added => self.behind(|held| opens(held, key)),
                _ => self.behind(|held| self.mints_ours(held)),
            };
            let since = self.age(at).checked_sub(self.times.settle)?;
            let what = match stage {
                Stage::Added => "opened",
                _ => "given up",
            };
            let on = format!("key {key:016x} is not {what} everywhere: {}", behind?);
            Some(Wait { on, since })
        };
        let added = history.find(Stage::Added).map(|at| (at, Stage::Added));
        let leaving = history.find(Stage::Leaves).map(|at| (at, Stage::Leaves));
        let mut waits = added.chain(leaving);
        waits.find_map(|(at, stage)| waiting(at, stage))
    }

    /// The workers of which `is_done` does not hold, for people; `None` where it holds of
    /// all. Who does not answer may be anywhere.
    fn behind(&self, is_done: impl Fn(&Held) -> bool) -> Option<String> {
        if self.heard.is_empty() {
            return Some("no worker answers".to_owned());
        }
        let is_behind = |held: &Option<Held>| !held.as_ref().is_some_and(&is_done);
        let pods = self.heard.iter();
        let behind = pods.filter(|(_, held)| is_behind(held));
        let behind: Vec<_> = behind.map(|(pod, _)| pod.as_str()).collect();
        (!behind.is_empty()).then(|| behind.join(", "))
    }

    fn mints_ours(&self, held: &Held) -> bool {
        held.keys.first() == self.keys.first()
    }

    fn is_settled(&self, at: u64) -> bool {
        self.age(at) >= self.times.settle
    }

    /// A clock that was put back makes things younger, never older.
    fn age(&self, at: u64) -> Duration {
        Duration::from_secs(self.now.saturating_sub(at))
    }
}

/// Whether a worker and all its edges open with the key.
fn opens(held: &Held, key: u64) -> bool {
    held.keys.contains(&key) && !held.lacked.contains(&key)
}

impl Step {
    /// The ring after it, and what each of its keys is then; `entropy` is for a new key.
    pub(super) fn taken(
        self,
        ring: KeyRing,
        history: &mut History,
        entropy: [u8; 32],
        now: u64,
    ) -> KeyRing {
        let mut note = |key, stage| history.0.insert(key, Since { stage, at: now });
        match self {
            Self::Add => {
                let Some(more) = ring.with_another(entropy) else {
                    return ring;
                };
                if let Some(key) = more.fingerprints().pop() {
                    note(key, Stage::Added);
                }
                more
            }
            Self::Mint(key) => {
                if let Some(before) = ring.fingerprints().first() {
                    note(*before, Stage::Leaves);
                }
                note(key, Stage::Mints);
                ring.minting(key)
            }
            Self::Drop(key) => {
                history.0.remove(&key);
                ring.without(key)
            }
        }
    }
}
