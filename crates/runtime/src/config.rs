//! One schema for flags, environment and file: the clap command of the binary.
//!
//! Every long flag of every role is also a variable and a key: `--routing-spread`
//! is `HEXAGRAM_ROUTING_SPREAD` and `[routing] spread`. The file's values become
//! the defaults of the chosen role's flags, so clap ranks them (default < file <
//! environment < flag) and its parsers check them.
//!
//! In the file a repeatable flag is an array and a switch a boolean. The variable
//! of a repeatable flag holds one value a line, or what the flag's own delimiter
//! separates. A key of another role is left alone, so that one file serves all; a
//! key of no role is an error.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;

mod effective;
mod error;
mod file;
mod schema;
#[cfg(test)]
mod tests;

pub use effective::{Effective, Entry, Source};
pub use error::{ConfigError, EXIT_CONFIG, EXIT_USAGE, Place};
use file::File;

use crate::watched::WatchedFile;

/// The flag that names the file; flatten it into the binary's top command,
/// which needs a doc comment of its own: else clap shows this one as its help.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ConfigArgs {
    /// Read options from this TOML file; variables and flags win over it
    #[arg(id = "config", long = "config", value_name = "FILE", global = true)]
    pub file: Option<PathBuf>,
}

/// A parsed command line and where each of its values came from.
#[derive(Clone, Debug)]
pub struct Parsed<T> {
    /// The arguments.
    pub args: T,
    /// Every key of the chosen role with its value and source.
    pub effective: Effective,
    /// Sees changes of the file from before it was read.
    pub watched: Option<WatchedFile>,
}

/// Parses `argv` (with the program's name first) over the environment, over the
/// file that `--config` or `HEXAGRAM_CONFIG` names.
///
/// # Errors
/// [`ConfigError`]: also for `--help` and `--version`, which clap reports so;
/// end `main` with [`ConfigError::report`].
pub fn parse<T: Parser>(
    argv: impl IntoIterator<Item = OsString>,
) -> Result<Parsed<T>, ConfigError> {
    let argv: Vec<OsString> = argv.into_iter().collect();
    let command = schema::with_variables(T::command());
    // A trial without the file tells its name and the role; what is wrong or
    // missing here is complained about below, with the file's values in place.
    let trial = command
        .clone()
        .ignore_errors(true)
        .try_get_matches_from(&argv)?;
    let role = schema::role(&trial);
    let file = schema::config_file(&trial);
    let watched = file.map(WatchedFile::new);
    let file = file.map_or_else(|| Ok(File::default()), File::read)?;
    file.check(&command, &role)?;
    let mut command = file.layer_under(command, &role);
    let mut matches = command
        .try_get_matches_from_mut(&argv)
        .map_err(error::blame)?;
    let effective = Effective::of(&command, &matches, &file);
    let args = T::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))?;
    Ok(Parsed {
        args,
        effective,
        watched,
    })
}
