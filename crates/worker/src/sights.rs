//! What a controller is told of this worker's upstreams.

use hexagram_proto::admin::{Tools, UpstreamSight, Upstreams};

use crate::meter::UpstreamStatus;
use crate::upstream::{ToolCount, UpstreamHealth};

/// Upstreams that are told of.
const MOST: usize = 256;
/// Bytes of a reason.
const REASON: usize = 160;

/// What a report says of `upstreams`.
pub(crate) fn sights(upstreams: Vec<UpstreamStatus>) -> Upstreams {
    let sights = upstreams.into_iter().take(MOST).map(sight);
    Upstreams {
        sights: sights.collect(),
    }
}

fn sight(UpstreamStatus { name, health, .. }: UpstreamStatus) -> UpstreamSight {
    let UpstreamHealth {
        reachable,
        era,
        tools,
        last_error,
        ..
    } = health;
    let why = last_error.filter(|_| reachable == Some(false));
    UpstreamSight {
        name,
        reachable,
        reason: why.map(|why| line(&why.error)).unwrap_or_default(),
        era: era.unwrap_or_default().to_owned(),
        tools: tools.map(|ToolCount { count, seconds_ago }| Tools {
            count: u32::try_from(count).unwrap_or(u32::MAX),
            age: seconds_ago,
        }),
    }
}

/// The beginning of `text` as one line: upstreams may have said what they like.
fn line(text: &str) -> String {
    let words: Vec<_> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let mut line = words.join(" ");
    let ends = line.char_indices().map(|(at, one)| at + one.len_utf8());
    let end = ends.take_while(|end| *end <= REASON).last();
    line.truncate(end.unwrap_or_default());
    line
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::upstream::LastError;

    fn status(name: &str, health: UpstreamHealth) -> UpstreamStatus {
        UpstreamStatus {
            name: name.to_owned(),
            requests: 0,
            in_flight: 0,
            failures: BTreeMap::new(),
            health,
        }
    }

    fn failed(reachable: bool, error: String) -> UpstreamHealth {
        UpstreamHealth {
            reachable: Some(reachable),
            last_error: Some(LastError {
                error,
                seconds_ago: 1,
            }),
            ..UpstreamHealth::default()
        }
    }

    #[test]
    fn a_reason_is_one_short_line_and_only_of_what_is_down() {
        let error = format!("HTTP 503:\n\t<p>\u{1b}[1m{}", "\u{e9}".repeat(REASON));
        let told = sights(vec![
            status("down", failed(false, error.clone())),
            status("up", failed(true, error)),
        ]);
        let reason = &told.sights[0].reason;
        assert!(reason.starts_with("HTTP 503: <p> [1m\u{e9}"), "{reason}");
        assert!(reason.len() <= REASON && reason.len() > REASON - 2);
        assert_eq!(told.sights[1].reason, "");
    }

    #[test]
    fn what_nobody_knows_is_absent() {
        let none = sights(vec![status("new", UpstreamHealth::default())]);
        let new = &none.sights[0];
        assert_eq!((new.reachable, new.era.as_str()), (None, ""));
        assert!(new.tools.is_none());
        let known = UpstreamHealth {
            era: Some("both"),
            tools: Some(ToolCount {
                count: 3,
                seconds_ago: 9,
            }),
            ..UpstreamHealth::default()
        };
        let known = sights(vec![status("known", known)]);
        let known = &known.sights[0];
        assert_eq!(known.tools, Some(Tools { count: 3, age: 9 }));
        assert_eq!(known.era, "both");
    }

    #[test]
    fn a_report_stays_small() {
        let many = (0..2 * MOST).map(|n| status(&n.to_string(), UpstreamHealth::default()));
        assert_eq!(sights(many.collect()).sights.len(), MOST);
    }
}
