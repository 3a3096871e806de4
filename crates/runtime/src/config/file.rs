//! The config file: flat keys with the lines they stand on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command};
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Place, reason};
use super::schema::{key, keys, path};

/// The settings of one file by key; the default is no file.
#[derive(Debug, Default)]
pub(super) struct File {
    settings: BTreeMap<String, Setting>,
}

/// One key's value, in the words a command line would have used.
#[derive(Debug)]
struct Setting {
    values: Vec<String>,
    array: bool,
    place: Place,
}

impl File {
    pub(super) fn read(file: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(file).map_err(|source| ConfigError::Read {
            file: file.to_owned(),
            source,
        })?;
        Self::parse(&text, file)
    }

    pub(super) fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let mut reader = Reader {
            text,
            file: file.to_owned(),
            settings: BTreeMap::new(),
        };
        let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
            place: reader.place(error.span().map_or(0, |span| span.start)),
            reason: error.message().to_owned(),
        })?;
        reader.flatten("", table.get_ref())?;
        Ok(Self {
            settings: reader.settings,
        })
    }

    /// Where the file sets a key.
    pub(super) fn place(&self, key: &str) -> Option<&Place> {
        self.settings.get(key).map(|setting| &setting.place)
    }

    /// What the file sets a key to, in the words of a command line.
    pub(super) fn words(&self, key: &str) -> &[String] {
        self.settings
            .get(key)
            .map_or(&[], |setting| &setting.values)
    }

    /// Checks every key against all roles and every value against the chosen one.
    pub(super) fn check(&self, command: &Command, role: &[String]) -> Result<(), ConfigError> {
        let known = keys(command);
        let mut settings: Vec<_> = self.settings.iter().collect();
        settings.sort_by_key(|(_, setting)| setting.place.line);
        for (name, setting) in settings {
            if !known.contains(&name.as_str()) {
                return Err(setting.unknown(name, &known));
            }
            path(command, role)
                .into_iter()
                .flat_map(Command::get_arguments)
                .filter(|arg| key(arg) == Some(name))
                .try_for_each(|arg| setting.check(name, arg))?;
        }
        Ok(())
    }

    /// Makes the settings the defaults of the role's arguments.
    pub(super) fn layer_under(&self, command: Command, role: &[String]) -> Command {
        let command = command.mut_args(|arg| {
            match key(&arg).and_then(|key| self.settings.get(key)) {
                // clap wants a required argument given, a default does not count.
                Some(setting) => arg.required(false).default_values(&setting.values),
                None => arg,
            }
        });
        match role.split_first() {
            Some((name, inner)) => {
                command.mut_subcommand(name, |command| self.layer_under(command, inner))
            }
            None => command,
        }
    }
}

impl Setting {
    /// Lets a command with nothing but this flag parse the values.
    fn check(&self, key: &str, arg: &Arg) -> Result<(), ConfigError> {
        if self.array && !matches!(arg.get_action(), ArgAction::Append) {
            return Err(self.wrong(key, "one value is expected, not an array"));
        }
        let alone = Arg::new("value")
            .long(key.to_owned())
            .action(ArgAction::Append)
            .value_delimiter(arg.get_value_delimiter())
            .value_parser(arg.get_value_parser().clone());
        let flags = self.values.iter().map(|value| format!("--{key}={value}"));
        bare()
            .arg(alone)
            .try_get_matches_from(flags)
            .map_or_else(|error| Err(self.wrong(key, reason(&error))), |_| Ok(()))
    }

    fn wrong(&self, key: &str, reason: impl Into<String>) -> ConfigError {
        ConfigError::Value {
            place: self.place.clone(),
            key: key.to_owned(),
            reason: reason.into(),
        }
    }

    fn unknown(&self, key: &str, known: &[&str]) -> ConfigError {
        ConfigError::UnknownKey {
            place: self.place.clone(),
            key: key.to_owned(),
            suggestion: suggest(key, known),
        }
    }
}

/// The known key most like a wrong one, as clap would suggest a flag.
fn suggest(key: &str, known: &[&str]) -> Option<String> {
    let mut known = known.to_vec();
    known.sort_unstable();
    known.dedup();
    let flags = known
        .iter()
        .map(|key| Arg::new((*key).to_owned()).long((*key).to_owned()));
    let error = bare()
        .args(flags)
        .try_get_matches_from([format!("--{key}")])
        .err()?;
    match error.get(ContextKind::SuggestedArg)? {
        ContextValue::String(flag) => flag.strip_prefix("--").map(str::to_owned),
        _ => None,
    }
}

fn bare() -> Command {
    Command::new("config")
        .no_binary_name(true)
        .disable_help_flag(true)
}

/// Turns tables into flat keys.
struct Reader<'a> {
    text: &'a str,
    file: PathBuf,
    settings: BTreeMap<String, Setting>,
}

impl Reader<'_> {
    fn place(&self, offset: usize) -> Place {
        let before = self.text.as_bytes().iter().take(offset);
        Place {
            file: self.file.clone(),
            line: 1 + before.filter(|byte| **byte == b'\n').count(),
        }
    }

    fn flatten(&mut self, prefix: &str, table: &DeTable<'_>) -> Result<(), ConfigError> {
        for (name, value) in table {
            let key = format!("{prefix}{}", name.get_ref());
            match value.get_ref() {
                DeValue::Table(inner) => self.flatten(&format!("{key}-"), inner)?,
                value => self.set(key, value, name.span().start)?,
            }
        }
        Ok(())
    }

    fn set(&mut self, key: String, value: &DeValue<'_>, at: usize) -> Result<(), ConfigError> {
        let place = self.place(at);
        let wrong = |reason: String| ConfigError::Value {
            place: place.clone(),
            key: key.clone(),
            reason,
        };
        let values = match value {
            DeValue::Array(items) => items.iter().map(|item| word(item.get_ref())).collect(),
            value => word(value).map(|word| vec![word]),
        }
        .ok_or_else(|| wrong("an array holds plain values only".to_owned()))?;
        if let Some(other) = self.settings.get(&key) {
            return Err(wrong(format!("it is set at {} too", other.place)));
        }
        let array = value.is_array();
        let setting = Setting {
            values,
            array,
            place,
        };
        self.settings.insert(key, setting);
        Ok(())
    }
}

/// A plain value as a command line would spell it.
fn word(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(on) => Some(on.to_string()),
        DeValue::Datetime(time) => Some(time.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
