//! The command line of `hexagram check`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use hexagram_core::ProtocolVersion;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::mistake::Mistake;

/// Settings of `hexagram check`.
#[derive(Clone, Args)]
pub(crate) struct CheckArgs {
    /// The endpoint to check, as http://HOST:PORT/PATH or https://...
    #[arg(value_name = "URL", value_parser = parse_url)]
    pub(super) url: Url,

    /// Header to send with every request, as 'Name: value'; never printed. May be repeated.
    // --help would show what its variable holds.
    #[arg(long = "header", value_name = "K: V", hide_env_values = true)]
    pub(super) headers: Vec<String>,

    /// Revision that must be spoken, else the exit code is 3. May be repeated.
    #[arg(long, value_name = "REVISION")]
    pub(super) require: Vec<ProtocolVersion>,

    /// Longest time for the whole check, in seconds; one answer may take a sixth of it.
    #[arg(long, default_value = "30", value_name = "SECONDS", value_parser = parse_timeout)]
    pub(super) timeout: Duration,

    /// Form of the output.
    #[arg(short, long, default_value = "table", value_name = "FORM")]
    pub(super) output: Output,
}

/// The headers may be secret.
impl std::fmt::Debug for CheckArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckArgs").finish_non_exhaustive()
    }
}

/// Form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    // As other commands call it: they share the variable.
    #[value(alias = "text")]
    Table,
    /// For programs.
    Json,
}

impl CheckArgs {
    /// The headers. They are parsed here and not by clap, which quotes what it refuses.
    pub(super) fn headers(&self) -> Result<HeaderMap, Mistake> {
        let mut all = HeaderMap::new();
        for (place, text) in self.headers.iter().enumerate() {
            let (name, value) = parse_header(text).ok_or_else(|| {
                let place = place + 1;
                Mistake::Settings(format!(
                    "--header number {place} is no header (it is not shown: it may be secret); \
                     write it as 'Name: value'"
                ))
            })?;
            all.append(name, value);
        }
        Ok(all)
    }
}

fn parse_header(text: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = text.split_once(':')?;
    let mut value: HeaderValue = value.trim().parse().ok()?;
    value.set_sensitive(true);
    Some((name.trim().parse().ok()?, value))
}

fn parse_url(text: &str) -> Result<Url, String> {
    let advice = "write the whole URL, as in http://127.0.0.1:8080/mcp";
    let url: Url = text.parse().map_err(|error| format!("{error}; {advice}"))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err(format!("only http and https are checked; {advice}")),
    }
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("give a time from 0.1 to 3600 seconds".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(headers: &[&str]) -> CheckArgs {
        CheckArgs {
            url: parse_url("http://localhost/mcp").expect("a URL"),
            headers: headers.iter().map(|&text| text.to_owned()).collect(),
            require: Vec::new(),
            timeout: Duration::from_secs(1),
            output: Output::Table,
        }
    }

    #[test]
    fn a_wrong_header_is_refused_without_being_shown() {
        let wrong = args(&["X-A: b", "Bearer hunter2"]);
        let said = wrong.headers().expect_err("no colon").to_string();
        assert!(
            said.contains("number 2") && !said.contains("hunter2"),
            "{said}"
        );
        let right = args(&["Authorization: Bearer hunter2"]);
        assert!(!format!("{right:?} {:?}", right.headers()).contains("hunter2"));
    }

    #[test]
    fn urls_are_whole() {
        for wrong in [
            "localhost:8080/mcp",
            "127.0.0.1/mcp",
            "ftp://a/mcp",
            "http://",
        ] {
            assert!(parse_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_time_is_bounded() {
        assert_eq!(parse_timeout("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "-1", "NaN", "inf", "1e9", "soon"] {
            assert!(parse_timeout(wrong).is_err(), "{wrong}");
        }
    }
}
