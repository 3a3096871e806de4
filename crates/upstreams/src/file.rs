//! An upstream as a file: `url`, and if wanted `retry`, `era` and tables of `timeouts` and
//! `headers`.

use std::collections::BTreeMap;
use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use serde::{Deserialize, Serialize};

use crate::{EraSetting, Retry, UpstreamName, UpstreamSpec, UpstreamTarget};

/// Headers of ours or of the protocol, beside all that begin with `mcp-`.
const RESERVED: [&str; 8] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "host",
    "last-event-id",
    "transfer-encoding",
    "user-agent",
];

/// An upstream that a file describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamFile {
    /// Where it is and what it is sent.
    pub spec: UpstreamSpec,
    /// Whether its calls may run again; `None`: as the flags say.
    pub retry: Option<Retry>,
    /// How it is known what it speaks; `None`: as the flags say.
    pub era: Option<EraSetting>,
    /// How long it is waited for.
    pub timeouts: Timeouts,
}

/// How long an upstream is waited for, in seconds, 1 at least; what is `None` is as the flags
/// say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// For a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<u32>,
    /// For it to introduce itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshake: Option<u32>,
    /// For each sign of life while it works on a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silence: Option<u32>,
}

impl Timeouts {
    fn checked(self) -> Result<Self, String> {
        let all = [self.connect, self.handshake, self.silence];
        match all.contains(&Some(0)) {
            true => Err("`timeouts` has one of 0 seconds: 1 is the least".to_owned()),
            false => Ok(self),
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The text of a file.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamText {
    /// A Streamable HTTP endpoint.
    pub url: String,
    /// `declared` or `never`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<String>,
    /// `auto`, `legacy` or `modern`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub era: Option<String>,
    /// How long it is waited for.
    #[serde(default, skip_serializing_if = "Timeouts::is_empty")]
    pub timeouts: Timeouts,
    /// What each request carries beside the protocol's own headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

impl fmt::Debug for UpstreamText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.keys().collect();
        f.debug_struct("UpstreamText")
            .field("url", &self.url)
            .field("retry", &self.retry)
            .field("era", &self.era)
            .field("timeouts", &self.timeouts)
            .field("headers", &names)
            .finish()
    }
}

impl UpstreamText {
    /// As it stands in a file.
    ///
    /// # Errors
    /// What cannot be written, for people.
    pub fn to_toml(&self) -> Result<String, String> {
        toml::to_string(self).map_err(|error| error.to_string())
    }

    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it and in which line, for people. No value of the file stands in
    /// it: it may be a secret.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| at_line(text, &error))
    }

    /// The upstream called `name` that this describes.
    ///
    /// # Errors
    /// What is wrong with it, for people, without its values.
    pub fn checked(self, name: UpstreamName) -> Result<UpstreamFile, String> {
        if !is_endpoint(&self.url) {
            return Err("`url` is no http:// or https:// address".to_owned());
        }
        let retry = self.retry.map(|retry| retry.parse()).transpose();
        let retry =
            retry.map_err(|_: String| "`retry` is neither declared nor never".to_owned())?;
        let era = self.era.map(|era| era.parse()).transpose();
        let era = era.map_err(|_: String| "`era` is none of auto, legacy and modern".to_owned())?;
        Ok(UpstreamFile {
            spec: UpstreamSpec {
                name,
                target: UpstreamTarget::Url(self.url),
                headers: headers(&self.headers)?,
            },
            retry,
            era,
            timeouts: self.timeouts.checked()?,
        })
    }
}

fn is_endpoint(url: &str) -> bool {
    url.parse::<Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    })
}

/// Without the text around it, which may be a secret.
fn at_line(text: &str, error: &toml::de::Error) -> String {
    let said = error.message();
    // Others quote what they found.
    let is_plain = said.starts_with("missing field") || said.starts_with("unknown field");
    let reason = match is_plain {
        true => said,
        false => "this is no TOML, or a value of another type than it should be",
    };
    match error.span() {
        Some(span) => {
            let before = text.get(..span.start).unwrap_or(text);
            format!("line {}: {reason}", before.matches('\n').count() + 1)
        }
        None => reason.to_owned(),
    }
}

fn headers(written: &BTreeMap<String, String>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in written {
        let key = HeaderName::try_from(name);
        let key = key.map_err(|_| format!("`headers`: {name:?} is no header's name"))?;
        if RESERVED.contains(&key.as_str()) || key.as_str().starts_with("mcp-") {
            return Err(format!("`headers`: {name} is set by Hexagram itself"));
        }
        let value = HeaderValue::try_from(value.trim());
        let mut value =
            value.map_err(|_| format!("`headers`: the value of {name} is no header"))?;
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn parsed(text: &str) -> Result<UpstreamFile, String> {
        UpstreamText::from_toml(text)?.checked("git".parse().unwrap())
    }

    #[test]
    fn a_file_says_where_what_is_sent_and_what_runs_again() {
        let file = parsed(
            "url = 'http://git.example/mcp'\nretry = 'never'\n[headers]\nAuthorization = 'Bearer s3'\n",
        )
        .unwrap();
        assert_eq!(file.retry, Some(Retry::Never));
        assert_eq!(file.spec.headers["authorization"], "Bearer s3");
        assert!(!format!("{file:?}").contains("s3"), "secrets are not shown");
        let plain = parsed("url = 'https://x'").unwrap();
        assert!(plain.spec.headers.is_empty() && plain.timeouts.is_empty());
        assert_eq!((plain.retry, plain.era), (None, None));
        let told = parsed("url = 'https://x'\nera = 'modern'").unwrap();
        assert_eq!(told.era, Some(EraSetting::Modern));
        let slow = parsed("url = 'https://x'\n[timeouts]\nhandshake = 90\n").unwrap();
        assert_eq!(slow.timeouts.handshake, Some(90));
        assert_eq!(slow.timeouts.silence, None);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = UpstreamText {
            url: "http://x/'\"".to_owned(),
            retry: Some("never".to_owned()),
            era: Some("legacy".to_owned()),
            timeouts: Timeouts {
                connect: Some(2),
                ..Timeouts::default()
            },
            headers: [("a".to_owned(), "b \" ' \\".to_owned())].into(),
        };
        let toml = text.to_toml().unwrap();
        assert_eq!(UpstreamText::from_toml(&toml), Ok(text));
    }

    #[test]
    fn what_is_wrong_is_told_without_values() {
        for (text, why) in [
            ("", "missing field `url`"),
            ("url = 'ftp://x'", "`url` is no http://"),
            ("url = 'http://'", "`url` is no http://"),
            ("url = 'x'", "`url` is no http://"),
            (
                "url = 'http://x'\nretries = 1",
                "line 2: unknown field `retries`",
            ),
            (
                "url = 'http://x'\nretry = 'often'",
                "neither declared nor never",
            ),
            (
                "url = 'http://x'\nheaders = {'a b' = 's3'}",
                "no header's name",
            ),
            (
                "url = 'http://x'\nheaders = {a = \"s3\\u0001\"}",
                "the value of a",
            ),
            (
                "url = 'http://x'\nheaders = {Mcp-Session-Id = 's3'}",
                "by Hexagram itself",
            ),
            ("url = 'http://x'\nheaders = {a = s3}", "line 2: "),
            ("url = 'http://x'\nheaders = 's3'", "another type"),
            (
                "url = 'http://x'\nretry = 's3'",
                "neither declared nor never",
            ),
            ("url = 'http://x'\nera = 's3'", "none of auto, legacy"),
            (
                "url = 'http://x'\n[timeouts]\nsilence = 0",
                "`timeouts` has one of 0",
            ),
            (
                "url = 'http://x'\n[timeouts]\ntotal = 3",
                "unknown field `total`",
            ),
            ("url = 53\n[headers]\na = 's3'", "line 1: "),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
            assert!(!error.contains("s3"), "{text}: {error}");
        }
    }
}
