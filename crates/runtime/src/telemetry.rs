//! Logs, to standard error.
//!
//! Standard output stays free for data (and for MCP itself in stdio roles).

use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;

use clap::ValueEnum;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, reload};

/// Ours, and of the MCP library only what is wrong: it tells of each session.
const DEFAULT: &str = "info,rmcp=warn";

/// How to log.
#[derive(Clone, Debug, clap::Args)]
pub struct LogArgs {
    /// What to log: a level, or directives such as `info,hexagram_edge=debug`
    #[arg(id = "log", long = "log", value_name = "FILTER", default_value = DEFAULT, value_parser = checked)]
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

/// Changes what a running process logs; clones change the same.
#[derive(Clone)]
pub struct LogFilter(Arc<dyn Fn(EnvFilter) + Send + Sync>);

impl LogFilter {
    /// Logs what `filter` says from now on.
    ///
    /// # Errors
    /// When it does not parse; what was logged before is logged on.
    pub fn set(&self, filter: &str) -> Result<(), Error> {
        (self.0)(parsed(filter)?);
        Ok(())
    }
}

impl fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogFilter")
    }
}

/// Starts logging for the whole process; what is logged can be changed later.
///
/// # Errors
/// When the filter does not parse, or when logging was started before; what
/// was started before stays.
pub fn init(args: &LogArgs) -> Result<LogFilter, Error> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parsed(&args.filter)?)
        .with_ansi(std::io::stderr().is_terminal())
        // Told where? To a standard error that is gone, and the telling panics.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    match args.format {
        LogFormat::Text => {
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            start(builder, handle)
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            start(builder, handle)
        }
    }
}

fn start<S: Send + Sync + 'static>(
    subscriber: impl SubscriberInitExt,
    handle: reload::Handle<EnvFilter, S>,
) -> Result<LogFilter, Error> {
    subscriber.try_init().map_err(|_| Error::AlreadyStarted)?;
    Ok(LogFilter(Arc::new(move |filter| {
        // Fails when the subscriber is gone, and it is the process's own.
        let _ = handle.reload(filter);
    })))
}

fn parsed(filter: &str) -> Result<EnvFilter, Error> {
    let checked = checked(filter).map_err(|reason| Error::Filter {
        filter: filter.to_owned(),
        reason,
    })?;
    Ok(EnvFilter::new(checked))
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
    fn the_default_leaves_out_what_the_mcp_library_tells() {
        let filter = parsed(DEFAULT).expect("a filter");
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter).finish();
        tracing::subscriber::with_default(subscriber, || {
            assert!(tracing::enabled!(target: "hexagram_edge::links", tracing::Level::INFO));
            assert!(tracing::enabled!(target: "rmcp::service", tracing::Level::WARN));
            assert!(!tracing::enabled!(target: "rmcp::service", tracing::Level::INFO));
        });
    }

    #[test]
    fn starts_once_and_refuses_a_second_start() {
        let filter = init(&args("off")).expect("the first start");
        assert!(!tracing::enabled!(tracing::Level::ERROR));
        filter.set("info").expect("a level");
        assert!(tracing::enabled!(tracing::Level::INFO));
        assert!(filter.set("hexagram=loud").is_err());
        assert!(tracing::enabled!(tracing::Level::INFO));
        filter.set("off").expect("a level");
        assert!(matches!(init(&args("off")), Err(Error::AlreadyStarted)));
        let wrong = init(&args("hexagram=loud")).expect_err("not a level");
        assert!(wrong.to_string().contains("hexagram=loud"), "{wrong}");
        assert!(wrong.to_string().contains("--log"), "{wrong}");
    }
}
