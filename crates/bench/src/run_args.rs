//! What every load is told on the command line, and values as people write them.

use std::time::Duration;

use clap::{Args, ValueEnum};
use http::{HeaderName, HeaderValue};

use crate::endpoint::check_url;

/// How a load is made and told.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    /// Header to send with every request, as 'Name: value'. May be repeated.
    // It may be secret: --help would show what its variable holds.
    #[arg(long = "header", value_name = "K: V", hide_env_values = true, value_parser = parse_header)]
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// Threads of the load generator.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: u16,
    /// How to print the result.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

pub(crate) fn parse_url(text: &str) -> Result<String, String> {
    check_url(text).map(|_| text.to_owned())
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("write a header as 'Name: value'")?;
    let bad = |part| format!("the {part} has characters that HTTP forbids; write 'Name: value'");
    let name = name.trim().parse().map_err(|_| bad("name"))?;
    let value = value.trim().parse().map_err(|_| bad("value"))?;
    Ok((name, value))
}

pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 86_400.0 => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("give a time above 0 and up to 86400 seconds".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_split_at_the_first_colon() {
        let (name, value) = parse_header("X-Where: host:80").expect("a header");
        assert_eq!(name, "x-where");
        assert_eq!(value, "host:80");
        assert!(parse_header("no colon").is_err());
        assert!(parse_header("bad name: x").is_err());
    }

    #[test]
    fn seconds_may_be_fractions_but_not_nothing() {
        assert_eq!(parse_seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["0", "-1", "NaN", "inf", "soon"] {
            assert!(parse_seconds(bad).is_err(), "{bad}");
        }
    }
}
