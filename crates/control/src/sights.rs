//! What workers say of their upstreams. The controller decides nothing by it.

use std::sync::Arc;

use hexagram_proto::{MOST_SIGHTS, admin};

/// An upstream as one worker sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// Its name.
    pub name: String,
    /// Whether it answered when it was used last; none while nobody has asked it.
    pub reachable: Option<bool>,
    /// Why it did not; empty where it did.
    pub reason: String,
    /// `legacy`, `modern` or `both`, once that is known.
    pub era: Option<String>,
    /// Its tools, once somebody has asked for the list.
    pub tools: Option<ToolsSeen>,
}

/// What a list of tools had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToolsSeen {
    /// So many tools.
    pub count: u32,
    /// How long before the report that was, in seconds.
    pub age: u64,
}

/// All that a worker says of its upstreams, about once a second. Others keep it, so it is
/// shared.
pub type Sights = Arc<[Sight]>;

pub(crate) fn read(upstreams: &admin::Upstreams) -> Sights {
    let sights = upstreams.sights.iter().take(MOST_SIGHTS);
    sights.map(sight).collect()
}

fn sight(told: &admin::UpstreamSight) -> Sight {
    let tools = told.tools.as_ref();
    Sight {
        name: told.name.clone(),
        reachable: told.reachable,
        reason: told.reason.clone(),
        era: (!told.era.is_empty()).then(|| told.era.clone()),
        tools: tools.map(|tools| ToolsSeen {
            count: tools.count,
            age: tools.age,
        }),
    }
}

#[cfg(test)]
mod tests {
    use hexagram_core::ShardCount;

    use super::*;
    use crate::fleet::Report;

    fn told(report: &admin::Report) -> Option<Sights> {
        let read = Report::read(report, ShardCount::default());
        read.expect("a report").upstreams
    }

    #[test]
    fn a_worker_of_an_older_release_does_not_tell() {
        assert_eq!(told(&admin::Report::default()), None);
        let none = admin::Report {
            upstreams: Some(admin::Upstreams::default()),
            ..admin::Report::default()
        };
        assert_eq!(told(&none).map(|sights| sights.len()), Some(0));
    }

    #[test]
    fn what_is_not_known_is_none() {
        let new = admin::UpstreamSight {
            name: "docs".to_owned(),
            ..admin::UpstreamSight::default()
        };
        let known = admin::UpstreamSight {
            reachable: Some(true),
            era: "both".to_owned(),
            tools: Some(admin::Tools { count: 3, age: 9 }),
            ..new.clone()
        };
        let expected = Sight {
            name: "docs".to_owned(),
            ..Sight::default()
        };
        assert_eq!(sight(&new), expected);
        let expected = Sight {
            reachable: Some(true),
            era: Some("both".to_owned()),
            tools: Some(ToolsSeen { count: 3, age: 9 }),
            ..expected
        };
        assert_eq!(sight(&known), expected);
    }
}
