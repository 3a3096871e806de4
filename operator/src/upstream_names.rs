//! Under which names clients see the `Upstream` objects, and which of several that want one
//! name has it (ADR 0026).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use crate::upstream::Upstream;

/// The name that workers serve it under: its prefix, else its own.
pub(crate) fn served_as(object: &Upstream) -> String {
    let prefix = object.spec.prefix.clone();
    prefix.unwrap_or_else(|| object.name_any())
}

/// Who has each name: the object that was made first, of those of one second the first in
/// the order of their own names. It has it also while it cannot be used: what was served
/// under the name stays with it.
pub(crate) fn holders<'a>(
    objects: impl Iterator<Item = &'a Upstream>,
) -> BTreeMap<String, &'a Upstream> {
    let mut holders = BTreeMap::new();
    for object in objects {
        let holder = holders.entry(served_as(object)).or_insert(object);
        if seniority(object) < seniority(holder) {
            *holder = object;
        }
    }
    holders
}

fn seniority(object: &Upstream) -> (Option<&Time>, Option<&str>) {
    let about = &object.metadata;
    (about.creation_timestamp.as_ref(), about.name.as_deref())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::upstream::UpstreamSpec;

    fn object(name: &str, prefix: Option<&str>, made: i64) -> Upstream {
        let spec = UpstreamSpec {
            prefix: prefix.map(str::to_owned),
            ..UpstreamSpec::default()
        };
        let mut object = Upstream::new(name, spec);
        let made = Timestamp::from_second(made).expect("a time");
        object.metadata.creation_timestamp = Some(Time(made));
        object
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
            let holders = holders(order.into_iter());
            let found = holders
                .iter()
                .map(|(name, one)| (name.clone(), one.name_any()));
            let expected = expected.map(|(name, one)| (name.to_owned(), one.to_owned()));
            assert_eq!(found.collect::<Vec<_>>(), expected);
        }
    }
}
