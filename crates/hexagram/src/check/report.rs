//! What a check found out; its JSON form is its serialization.

use hexagram_core::ProtocolVersion;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::lists::Listing;

/// Everything about one endpoint.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) url: String,
    /// Whether it speaks a revision at all.
    pub(super) is_mcp: bool,
    /// What it says of itself.
    pub(super) server: Option<Server>,
    /// Every revision, oldest first.
    pub(super) revisions: Vec<Revision>,
    /// Required revisions that are not spoken.
    pub(super) missing: Vec<&'static str>,
    /// Whether it is an endpoint of HTTP+SSE, the transport of 2024-11-05.
    pub(super) http_sse: bool,
    /// The newest revision with sessions that it speaks.
    pub(super) legacy: Option<EraFacts>,
    /// 2026-07-28.
    pub(super) modern: Option<EraFacts>,
    /// Where it breaks a MUST of the specification.
    pub(super) findings: Vec<Finding>,
    /// Why it is no MCP endpoint.
    pub(super) problem: Option<Problem>,
}

/// Name and version of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) version: String,
}

impl Server {
    /// From an `Implementation` object.
    pub(super) fn read(info: &Value) -> Option<Self> {
        let member = |name: &str| info[name].as_str().map(str::to_owned);
        Some(Self {
            name: member("name")?,
            version: member("version").unwrap_or_default(),
        })
    }
}

/// Whether a revision is spoken, and how that was found.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Revision {
    pub(super) revision: &'static str,
    /// `null`: it could not be found out.
    pub(super) spoken: Option<bool>,
    pub(super) how: String,
}

/// What it does within one revision.
#[derive(Debug, Serialize)]
pub(super) struct EraFacts {
    pub(super) revision: &'static str,
    pub(super) transport: Transport,
    /// As the server declares them.
    pub(super) capabilities: Value,
    #[serde(serialize_with = "as_map")]
    pub(super) lists: Vec<(&'static str, Listing)>,
    #[serde(serialize_with = "as_map")]
    pub(super) features: Vec<(&'static str, Feature)>,
}

/// How the facts were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Transport {
    /// One URL for everything.
    StreamableHttp,
    /// That of 2024-11-05, with two URLs.
    HttpSse,
}

/// Something that a server does or does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Feature {
    /// `null`: it could not be found out.
    pub(super) seen: Option<bool>,
    pub(super) note: String,
}

/// A broken MUST.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) revision: &'static str,
    pub(super) sent: &'static str,
    pub(super) seen: String,
    pub(super) wanted: &'static str,
}

/// Why the endpoint is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    /// Whether somebody took the connection.
    pub(super) connected: bool,
    /// Whether it answered at all.
    pub(super) reachable: bool,
    pub(super) cause: String,
    pub(super) fix: String,
}

impl Report {
    /// Of an endpoint that nothing is known of yet.
    pub(super) fn new(url: &reqwest::Url) -> Self {
        Self {
            url: url.to_string(),
            is_mcp: false,
            server: None,
            revisions: Vec::new(),
            missing: Vec::new(),
            http_sse: false,
            legacy: None,
            modern: None,
            findings: Vec::new(),
            problem: None,
        }
    }

    /// Draws the conclusions from `revisions`: is it MCP, and is all there that
    /// is `required`?
    pub(super) fn conclude(&mut self, required: &[ProtocolVersion]) {
        let speaks = |date: &str| {
            let mut all = self.revisions.iter();
            all.any(|row| row.revision == date && row.spoken == Some(true))
        };
        let required = required.iter().map(|version| version.as_str());
        self.missing = required.filter(|date| !speaks(date)).collect();
        self.missing.dedup();
        self.is_mcp = ProtocolVersion::ALL.iter().any(|v| speaks(v.as_str()));
    }
}

impl Revision {
    /// Adds another way in which it may be spoken.
    pub(super) fn add(&mut self, spoken: bool, how: &str) {
        self.how = match (self.spoken, spoken) {
            (Some(true), _) => format!("{}; {how}", self.how),
            (_, true) => how.to_owned(),
            (_, false) => format!("{}; {how}", self.how),
        };
        self.spoken = self.spoken.max(Some(spoken));
    }
}

/// A list of named things as an object, in its order.
fn as_map<S: Serializer, T: Serialize>(
    list: &[(&'static str, T)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(list.iter().map(|(name, value)| (name, value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(spoken: Option<bool>) -> Report {
        let mut report = Report::new(&"http://localhost/mcp".parse().expect("a URL"));
        report.revisions.push(Revision {
            revision: "2025-11-25",
            spoken,
            how: String::new(),
        });
        report
    }

    #[test]
    fn a_revision_that_could_not_be_found_out_is_missing() {
        for (spoken, is_mcp, missing) in [
            (Some(true), true, &[][..]),
            (Some(false), false, &["2025-11-25"]),
            (None, false, &["2025-11-25"]),
        ] {
            let mut report = report(spoken);
            let required = ProtocolVersion::V2025_11_25;
            report.conclude(&[required, required]);
            assert_eq!((report.is_mcp, &*report.missing), (is_mcp, missing));
        }
    }

    #[test]
    fn features_are_members_in_json() {
        let mut report = report(Some(true));
        let feature = Feature {
            seen: None,
            note: "x".to_owned(),
        };
        report.modern = Some(EraFacts {
            revision: "2026-07-28",
            transport: Transport::StreamableHttp,
            capabilities: Value::Null,
            lists: Vec::new(),
            features: vec![("ping", feature)],
        });
        let json = serde_json::to_value(&report).expect("JSON");
        assert_eq!(json["modern"]["features"]["ping"]["note"], "x");
        assert!(json["modern"]["features"]["ping"]["seen"].is_null());
    }
}
