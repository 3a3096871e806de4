//! What a controller is told of this worker's upstreams.

use hexagram_proto::MOST_SIGHTS;
use hexagram_proto::admin::{Tools, UpstreamSight, Upstreams};

use crate::upstream::{ToolCount, UpstreamHealth};

/// Bytes of a reason.
const REASON: usize = 160;

/// What a report says of `upstreams`, each with its name.
pub(crate) fn sights<'a>(upstreams: impl Iterator<Item = (&'a str, UpstreamHealth)>) -> Upstreams {
    let sights = upstreams.take(MOST_SIGHTS);
    let sights = sights.map(|(name, health)| sight(name, health));
    Upstreams {
        sights: sights.collect(),
    }
}

fn sight(name: &str, health: UpstreamHealth) -> UpstreamSight {
    let UpstreamHealth {
        reachable,
        era,
        tools,
        last_error,
        ..
    } = health;
    let why = last_error.filter(|_| reachable == Some(false));
    UpstreamSight {
        name: name.to_owned(),
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
    use super::*;
    use crate::upstream::LastError;

    fn told<const N: usize>(upstreams: [(&str, UpstreamHealth); N]) -> Vec<UpstreamSight> {
        sights(upstreams.into_iter()).sights
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
        let told = told([
            ("down", failed(false, error.clone())),
            ("up", failed(true, error)),
        ]);
        let reason = &told[0].reason;
        assert!(reason.starts_with("HTTP 503: <p> [1m\u{e9}"), "{reason}");
        assert!(reason.len() <= REASON && reason.len() > REASON - 2);
        assert_eq!(told[1].reason, "");
    }

    #[test]
    fn what_nobody_knows_is_absent() {
        let new = &told([("new", UpstreamHealth::default())])[0];
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
        let known = &told([("known", known)])[0];
        assert_eq!(known.tools, Some(Tools { count: 3, age: 9 }));
        assert_eq!(known.era, "both");
    }

    #[test]
    fn a_report_stays_small() {
        let many = (0..2 * MOST_SIGHTS).map(|_| ("one", UpstreamHealth::default()));
        assert_eq!(sights(many).sights.len(), MOST_SIGHTS);
    }
}
