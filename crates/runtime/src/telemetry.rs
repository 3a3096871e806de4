//! Logs, to standard error.
//!
//! Standard output stays free for data (and for MCP itself in stdio roles).

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// How to log.
#[derive(Clone, Debug, clap::Args)]
pub struct LogArgs {
    /// What to log: a level, or directives such as `info,hexagram_edge=debug`
    #[arg(id = "log", long = "log", value_name = "FILTER", default_value = "info", value_parser = checked)]
    pub filter: String,

    /// How to write a log line
    #[arg(
        id = "log_format",
        long = "log-format",
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For log collectors: one JSON object a line.
    Json,
}

/// Why logging did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter does not parse.
    #[error("the log filter {filter:?} (--log) is not valid: {reason}")]
    Filter {
        /// The filter as given.
        filter: String,
        /// What is wrong with it, and what to write.
        reason: String,
    },
    /// A second subscriber cannot replace the first.
    #[error("logging was already started in this process: call telemetry::init once")]
    AlreadyStarted,
}

/// Starts logging for the whole process.
///
/// # Errors
/// When the filter does not parse, or when logging was started before; what
/// was started before stays.
pub fn init(args: &LogArgs) -> Result<(), Error> {
    let filter = checked(&args.filter).map_err(|reason| Error::Filter {
        filter: args.filter.clone(),
        reason,
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_ansi(std::io::stderr().is_terminal())
        // Told where? To a standard error that is gone, and the telling panics.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    match args.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|_| Error::AlreadyStarted)
}

/// Checks a filter while clap parses, so that a bad one is blamed on its source.
fn checked(filter: &str) -> Result<String, String> {
    let advice = "use a level (off, error, warn, info, debug, trace) or TARGET=LEVEL, \
                  several separated by commas";
    if let Some(word) = filter.split(',').find(|part| is_stray(part)) {
        return Err(format!("`{word}` is no level; {advice}"));
    }
    EnvFilter::try_new(filter)
        .map(|_| filter.to_owned())
        .map_err(|error| format!("{error}; {advice}"))
}

/// A misspelt level would count as a target and silence everything else.
fn is_stray(directive: &str) -> bool {
    !directive.is_empty()
        && !directive.contains(['=', '[', ']', '{', '}'])
        && directive.parse::<LevelFilter>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(filter: &str) -> LogArgs {
        LogArgs {
            filter: filter.to_owned(),
            format: LogFormat::Json,
        }
    }

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for filter in [
            "loud",
            "info,loud",
            "hexagram_edge",
            "hexagram=loud",
            "a::b",
        ] {
            let reason = checked(filter).expect_err(filter);
            assert!(reason.contains("TARGET=LEVEL"), "{filter}: {reason}");
        }
        for filter in [
            "info",
            "WARN",
            "off",
            "warn,hexagram_edge=debug,",
            "[span{a=1}]=info",
        ] {
            assert_eq!(checked(filter).as_deref(), Ok(filter));
        }
    }

    #[test]
    fn starts_once_and_refuses_a_second_start() {
        assert!(init(&args("off")).is_ok());
        assert!(matches!(init(&args("off")), Err(Error::AlreadyStarted)));
        let wrong = init(&args("hexagram=loud")).expect_err("not a level");
        assert!(wrong.to_string().contains("hexagram=loud"), "{wrong}");
        assert!(wrong.to_string().contains("--log"), "{wrong}");
    }
}
