//! What can be wrong with a configuration, and where.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::net::AddrParseError;
use std::num::ParseIntError;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::schema;

/// Exit code for a wrong variable, or a wrong file of settings or keys:
/// `EX_CONFIG` of sysexits.h.
pub const EXIT_CONFIG: u8 = 78;
/// Exit code for a wrong command line: the one clap and most shells use.
pub const EXIT_USAGE: u8 = 2;

/// A line of the config file, displayed as `FILE:LINE`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file as it was named.
    pub file: PathBuf,
    /// Counts from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// Why there is no configuration to run with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The command line is wrong, or asks for help or the version.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// The file cannot be read.
    #[error("cannot read the config file {}: {source}; check --config and HEXAGRAM_CONFIG", file.display())]
    Read {
        /// The file as it was named.
        file: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{place}: {reason}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the TOML parser says.
        reason: String,
    },
    /// No role has such a flag.
    #[error("{place}: unknown key `{key}`: {}", advice(suggestion.as_deref()))]
    UnknownKey {
        /// Where.
        place: Place,
        /// The key with its tables, joined by `-`.
        key: String,
        /// A known key that looks much like it.
        suggestion: Option<String>,
    },
    /// The value is not one its flag would take.
    #[error("{place}: wrong value for `{key}`: {reason}")]
    Value {
        /// Where.
        place: Place,
        /// The key with its tables, joined by `-`.
        key: String,
        /// What the flag's parser says.
        reason: String,
    },
    /// The same for an environment variable.
    #[error("wrong value in the environment variable {variable}: {reason}")]
    Variable {
        /// Its name.
        variable: String,
        /// What the flag's parser says.
        reason: String,
    },
}

impl ConfigError {
    /// 2 for a wrong command line, 0 for help and version, else [`EXIT_CONFIG`].
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(error) if error.use_stderr() => EXIT_USAGE,
            Self::Usage(_) => 0,
            _ => EXIT_CONFIG,
        }
    }

    /// Prints the error (or the help asked for); return the code from `main`.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        match self {
            // Nobody is left to hear that the terminal is gone.
            Self::Usage(error) => drop(error.print()),
            error => drop(writeln!(io::stderr(), "error: {error}")),
        }
        ExitCode::from(self.exit_code())
    }
}

fn advice(suggestion: Option<&str>) -> String {
    match suggestion {
        Some(known) => format!("did you mean `{known}`?"),
        None => "keys are the long flags that --help lists".to_owned(),
    }
}

/// The cause inside a clap error, without the flag that clap names.
pub(super) fn reason(error: &clap::Error) -> String {
    match (error.source(), error.get(ContextKind::ValidValue)) {
        (Some(source), _) => explained(source),
        (None, Some(ContextValue::Strings(valid))) if !valid.is_empty() => {
            format!("possible values are {}", valid.join(", "))
        }
        _ => error.kind().to_string(),
    }
}

/// What the standard library says of a value names no way out.
fn explained(source: &(dyn Error + 'static)) -> String {
    let advice = if source.is::<ParseIntError>() {
        "write a whole number in digits"
    } else if source.is::<AddrParseError>() {
        "write numbers, as in 127.0.0.1:8080: names are not looked up"
    } else {
        return source.to_string();
    };
    format!("{source}; {advice}")
}

/// clap blames a variable's value on the flag; the user has to look elsewhere.
pub(super) fn blame(error: clap::Error) -> ConfigError {
    let Some((flag, value)) = wrong_value(&error) else {
        return error.into();
    };
    match wrong_variable(flag, value) {
        Some((variable, set)) => ConfigError::Variable {
            variable,
            reason: match value.is_empty() && set.contains('\n') {
                true => "a line is empty; give one value a line, without a line break at the end"
                    .to_owned(),
                false => reason(&error),
            },
        },
        None if error.kind() == ErrorKind::ValueValidation => {
            let reason = reason(&error);
            let text = format!("invalid value '{value}' for '{flag}': {reason}{MORE_HELP}");
            clap::Error::raw(ErrorKind::ValueValidation, text).into()
        }
        None => error.into(),
    }
}

/// As clap ends its own errors.
const MORE_HELP: &str = "\n\nFor more information, try '--help'.\n";

/// The flag, as clap names it, and its value, where that is what is wrong.
fn wrong_value(error: &clap::Error) -> Option<(&str, &str)> {
    use ContextKind::{InvalidArg, InvalidValue};
    let values = [ErrorKind::InvalidValue, ErrorKind::ValueValidation];
    match (error.get(InvalidArg)?, error.get(InvalidValue)?) {
        (ContextValue::String(flag), ContextValue::String(value))
            if values.contains(&error.kind()) =>
        {
            Some((flag, value))
        }
        _ => None,
    }
}

/// The flag's variable and what it holds, if that has the wrong value in it.
fn wrong_variable(flag: &str, value: &str) -> Option<(String, String)> {
    // clap names the flag as `--long <VALUE>`.
    let long = flag.split_whitespace().next()?.strip_prefix("--")?;
    let variable = schema::variable(long);
    let set = std::env::var(&variable).ok()?;
    let blamed = set == value || set.split([',', '\n']).any(|part| part == value);
    blamed.then_some((variable, set))
}
