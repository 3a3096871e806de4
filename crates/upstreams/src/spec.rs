//! `NAME=URL` or `NAME=COMMAND` from the command line.

use std::fmt;
use std::str::FromStr;

use http::HeaderMap;

/// A short name that prefixes an upstream's tools: `[a-z][a-z0-9-]*`, at most
/// 32 characters, so that it also fits a URI scheme.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpstreamName(String);

impl UpstreamName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UpstreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for UpstreamName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let fits = (1..=32).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if !fits {
            return Err(format!(
                "{name:?} is not an upstream name: use 1 to 32 of a-z, 0-9 and -, a letter first"
            ));
        }
        Ok(Self(name.to_owned()))
    }
}

/// Where an upstream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamTarget {
    /// A Streamable HTTP endpoint.
    Url(String),
    /// A command that speaks MCP on its standard input and output; run by `sh`.
    Command(String),
}

/// A named upstream as the command line gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamSpec {
    /// Its name.
    pub name: UpstreamName,
    /// Where it is.
    pub target: UpstreamTarget,
    /// What each request to a URL carries beside the protocol's own headers.
    pub headers: HeaderMap,
}

impl FromStr for UpstreamSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, target) = text
            .split_once('=')
            .ok_or("expected NAME=URL or NAME=\"command args\"")?;
        let target = target.trim();
        if target.is_empty() {
            return Err(format!("upstream {name} has neither URL nor command"));
        }
        let is_url = target.starts_with("http://") || target.starts_with("https://");
        if !is_url
            && let Some((scheme, _)) = target.split_once("://")
            && scheme.chars().all(|c| c.is_ascii_alphanumeric())
        {
            return Err(format!(
                "upstream {name}: {scheme}:// is not served, only http:// and https://"
            ));
        }
        let target = if is_url {
            UpstreamTarget::Url(target.to_owned())
        } else {
            UpstreamTarget::Command(target.to_owned())
        };
        Ok(Self {
            name: name.parse()?,
            target,
            headers: HeaderMap::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_commands() {
        let url: UpstreamSpec = "git=http://127.0.0.1:1/mcp?a=b".parse().expect("a URL");
        assert_eq!(
            url.target,
            UpstreamTarget::Url("http://127.0.0.1:1/mcp?a=b".into())
        );
        let command: UpstreamSpec = "every-1=npx -y server --x=y".parse().expect("a command");
        assert_eq!(command.name.as_str(), "every-1");
        assert_eq!(
            command.target,
            UpstreamTarget::Command("npx -y server --x=y".into())
        );
    }

    #[test]
    fn bad_ones_say_why() {
        for (text, why) in [
            ("http://x", "expected NAME=URL"),
            ("a=", "neither URL nor command"),
            ("a=ftp://x", "ftp:// is not served"),
            ("A=http://x", "not an upstream name"),
            ("a__b=http://x", "not an upstream name"),
        ] {
            let error = text.parse::<UpstreamSpec>().expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
