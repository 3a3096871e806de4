//! Under which names clients see the `Upstream` objects, and which of several that want one
//! name has it (ADR 0026).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use crate::upstream::Upstream;

/// Of which object each file is that workers have: its uid, by the file's name.
pub(crate) type Whose = BTreeMap<String, String>;

/// What the names of files end with.
const ENDING: &str = ".toml";

/// The file of the upstream of this name.
pub(crate) fn file_name(name: &str) -> String {
    format!("{name}{ENDING}")
}

/// The name of the upstream whose file this is.
pub(crate) fn name_of(file: &str) -> Option<&str> {
    file.strip_suffix(ENDING)
}

/// The name that workers serve it under: its prefix, else its own.
pub(crate) fn served_as(object: &Upstream) -> String {
    let prefix = object.spec.prefix.clone();
    prefix.unwrap_or_else(|| object.name_any())
}

/// Who has each name: the object that is served under it already, else the one that was made
/// first, of those of one second the first in the order of their own names. It has it also
/// while it cannot be used: what was served under the name stays with it.
pub(crate) fn holders<'a>(
    objects: impl Iterator<Item = &'a Upstream>,
    whose: &Whose,
) -> BTreeMap<String, &'a Upstream> {
    let mut holders = BTreeMap::new();
    let rank = |object: &'a Upstream| (!is_served(object, whose), seniority(object));
    for object in objects {
        let holder = holders.entry(served_as(object)).or_insert(object);
        if rank(object) < rank(holder) {
            *holder = object;
        }
    }
    holders
}

/// Whether what workers have under the object's name is of this object.
pub(crate) fn is_served(object: &Upstream, whose: &Whose) -> bool {
    let uid = whose.get(&file_name(&served_as(object)));
    uid.is_some() && uid == object.metadata.uid.as_ref()
}

fn seniority(object: &Upstream) -> (Option<&Time>, Option<&str>) {
    let about = &object.metadata;
    (about.creation_timestamp.as_ref(), about.name.as_deref())
}

#[cfg(test)]
pub(crate) mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::upstream::UpstreamSpec;

    /// An object with this prefix that was made `at` this second, under a uid of its own.
    pub(crate) fn made(name: &str, prefix: Option<&str>, at: i64, spec: UpstreamSpec) -> Upstream {
        let prefix = prefix.map(str::to_owned);
        let mut object = Upstream::new(name, UpstreamSpec { prefix, ..spec });
        object.metadata.uid = Some(format!("{name}-{at}"));
        let at = Timestamp::from_second(at).expect("a time");
        object.metadata.creation_timestamp = Some(Time(at));
        object
    }

    fn object(name: &str, prefix: Option<&str>, at: i64) -> Upstream {
        made(name, prefix, at, UpstreamSpec::default())
    }

    #[test]
    fn the_first_that_was_made_has_the_name() {
        let objects = [
            object("docs", None, 5),
            object("old", Some("docs"), 4),
            object("b", Some("git"), 7),
            object("a", Some("git"), 7),
            object("git", None, 8),
            object("alone", None, 9),
        ];
        let expected = [("alone", "alone"), ("docs", "old"), ("git", "a")];
        let orders = [
            objects.iter().collect::<Vec<_>>(),
            objects.iter().rev().collect(),
        ];
        for order in orders {
            let holders = holders(order.into_iter(), &Whose::new());
            let found = holders
                .iter()
                .map(|(name, one)| (name.clone(), one.name_any()));
            let expected = expected.map(|(name, one)| (name.to_owned(), one.to_owned()));
            assert_eq!(found.collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn who_is_served_under_a_name_keeps_it_while_it_wants_it() {
        let old = object("old", Some("docs"), 4);
        let docs = object("docs", None, 5);
        let moved = object("docs", Some("manual"), 5);
        let whose = Whose::from([("docs.toml".to_owned(), "docs-5".to_owned())]);
        for (now, expected) in [(&docs, "docs"), (&moved, "old")] {
            for order in [[&old, now], [now, &old]] {
                let holders = holders(order.into_iter(), &whose);
                assert_eq!(holders["docs"].name_any(), expected);
            }
        }
    }
}
