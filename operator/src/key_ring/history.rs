//! Since when each key of the ring is what it is: kept in an annotation of the Secret, for
//! people too.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

/// What a key of the ring is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It was added, only opens, and is to mint.
    Added,
    /// It mints.
    Mints,
    /// It is not to mint any more; somebody may not know that yet.
    Leaves,
    /// Nobody mints with it: it opens what is out.
    Left,
}

/// A key's stage, and since when in Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Since {
    pub(super) stage: Stage,
    pub(super) at: u64,
}

/// Of each key, by its fingerprint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct History(pub(super) BTreeMap<u64, Since>);

impl Stage {
    pub(super) const ALL: [Self; 4] = [Self::Added, Self::Mints, Self::Leaves, Self::Left];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Mints => "mints",
            Self::Leaves => "leaves",
            Self::Left => "left",
        }
    }
}

impl History {
    /// What stands in the annotation. What a hand has made unreadable of it is left out: its
    /// time begins anew.
    pub(super) fn read(text: &str) -> Self {
        Self(text.split(',').filter_map(read_one).collect())
    }

    /// A key in a stage.
    pub(super) fn find(&self, stage: Stage) -> impl Iterator<Item = (u64, u64)> {
        let all = self.0.iter();
        let found = all.filter(move |(_, since)| since.stage == stage);
        found.map(|(key, since)| (*key, since.at))
    }

    pub(super) fn has(&self, stage: Stage) -> bool {
        self.find(stage).next().is_some()
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (key, since)) in self.0.iter().enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            let word = since.stage.word();
            // What the calendar does not have is as late as it can be: nothing comes too soon.
            let at = i64::try_from(since.at).unwrap_or(i64::MAX);
            let at = Timestamp::from_second(at).unwrap_or(Timestamp::MAX);
            write!(f, "{comma}{key:016x} {word} {at}")?;
        }
        Ok(())
    }
}

/// `FINGERPRINT STAGE TIME`
fn read_one(text: &str) -> Option<(u64, Since)> {
    let mut words = text.split_whitespace();
    let key = u64::from_str_radix(words.next()?, 16).ok()?;
    let word = words.next()?;
    let stage = Stage::ALL.into_iter().find(|stage| stage.word() == word)?;
    let at = Timestamp::from_str(words.next()?).ok()?.as_second();
    let at = u64::try_from(at).ok()?;
    Some((key, Since { stage, at }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn history() -> impl Strategy<Value = History> {
        let stage = proptest::sample::select(Stage::ALL.to_vec());
        let since = (stage, 0..4_000_000_000_u64).prop_map(|(stage, at)| Since { stage, at });
        prop::collection::btree_map(any::<u64>(), since, 0..5).prop_map(History)
    }

    proptest! {
        #[test]
        fn a_history_comes_back_as_it_was(history in history()) {
            prop_assert_eq!(History::read(&history.to_string()), history);
        }

        #[test]
        fn any_text_is_read(text in "([0-9a-f]{0,17}|added|left|2026-01-02T03:04:05Z|[ ,é])*") {
            let _ = History::read(&text);
        }
    }

    #[test]
    fn people_can_read_it_and_break_it() {
        let text = "0000000000000007 left 2026-01-02T03:04:05Z, 000000000000000a mints \
                    2026-01-02T04:04:05Z";
        assert_eq!(History::read(text).to_string(), text);
        let broken = "7 gone 2026-01-02T03:04:05Z, x left 2026-01-02T03:04:05Z, 8 left soon, , \
                      a mints 2026-01-02T04:04:05Z";
        let left = History::read(broken);
        assert_eq!(left.0.keys().collect::<Vec<_>>(), [&0xa]);
    }
}
