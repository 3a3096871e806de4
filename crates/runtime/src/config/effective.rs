//! The configuration a role runs with, and where each value came from.

use std::collections::BTreeMap;
use std::fmt;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use toml::Value;

use super::error::Place;
use super::file::File;
use super::schema::key;

/// Every key of the chosen role. Displays as a config file whose comments tell
/// the sources; what is unset or secret is a comment.
#[derive(Clone, Debug, Default)]
pub struct Effective {
    entries: BTreeMap<String, Entry>,
}

/// One key's value and source. A secret's value is not kept.
#[derive(Clone, Debug)]
pub struct Entry {
    value: Option<Value>,
    source: Option<Source>,
    // What the file says, also where it is not listened to.
    in_file: Vec<String>,
}

/// Where a value came from, strongest last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The flag's own default.
    Default,
    /// A line of the config file.
    File(Place),
    /// This environment variable.
    Variable(String),
    /// The command line.
    Flag,
}

impl Effective {
    /// Reads a finished parse of a command over a file.
    pub(super) fn of(command: &Command, matches: &ArgMatches, file: &File) -> Self {
        let mut effective = Self::default();
        effective.add(command, matches, file);
        effective
    }

    fn add(&mut self, command: &Command, matches: &ArgMatches, file: &File) {
        for arg in command.get_arguments() {
            if let Some(key) = key(arg) {
                let entry = Entry::of(key, arg, matches, file);
                self.entries.insert(key.to_owned(), entry);
            }
        }
        if let Some((name, matches)) = matches.subcommand()
            && let Some(command) = command.find_subcommand(name)
        {
            self.add(command, matches, file);
        }
    }

    /// One key's entry; none if the role has no such key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// The keys of which the file says something else than in `before`, with
    /// where their values come from now; a secret's value is not compared.
    pub fn changed_in_file<'a>(
        &'a self,
        before: &'a Self,
    ) -> impl Iterator<Item = (&'a str, Option<&'a Source>)> {
        let is_changed = |key: &str, entry: &Entry| {
            let before = before.get(key);
            before.is_some_and(|before| before.in_file != entry.in_file)
        };
        let changed = self.entries.iter();
        let changed = changed.filter(move |(key, entry)| is_changed(key, entry));
        changed.map(|(key, entry)| (key.as_str(), entry.source()))
    }
}

impl Entry {
    fn of(key: &str, arg: &Arg, matches: &ArgMatches, file: &File) -> Self {
        let source = Source::of(key, arg, matches, file);
        let shown = source.is_some() && !arg.is_hide_env_values_set();
        Self {
            value: shown.then(|| value(arg, matches)),
            source,
            in_file: match arg.is_hide_env_values_set() {
                true => Vec::new(),
                false => file.words(key).to_vec(),
            },
        }
    }

    /// The value; none if it is unset or secret.
    #[must_use]
    pub fn value(&self) -> Option<&Value> {
        self.value.as_ref()
    }

    /// Where the value came from; none if it is unset.
    #[must_use]
    pub fn source(&self) -> Option<&Source> {
        self.source.as_ref()
    }
}

impl Source {
    fn of(key: &str, arg: &Arg, matches: &ArgMatches, file: &File) -> Option<Self> {
        match matches.value_source(arg.get_id().as_str())? {
            ValueSource::CommandLine => Some(Self::Flag),
            ValueSource::EnvVariable => arg
                .get_env()
                .map(|name| Self::Variable(name.to_string_lossy().into_owned())),
            _ => Some(file.place(key).cloned().map_or(Self::Default, Self::File)),
        }
    }
}

fn value(arg: &Arg, matches: &ArgMatches) -> Value {
    let raw = matches.get_raw(arg.get_id().as_str()).into_iter().flatten();
    let mut values: Vec<_> = raw.map(|word| typed(&word.to_string_lossy())).collect();
    match arg.get_action() {
        ArgAction::Append => Value::Array(values),
        _ => values.pop().unwrap_or(Value::Array(values)),
    }
}

/// Numbers and booleans as such, if TOML would spell them the same.
fn typed(word: &str) -> Value {
    if let Ok(on) = word.parse() {
        return Value::Boolean(on);
    }
    match word.parse() {
        Ok(number) if format!("{number}") == word => Value::Integer(number),
        _ => Value::String(word.to_owned()),
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries
            .iter()
            .try_for_each(|(key, entry)| match entry {
                Entry { source: None, .. } => writeln!(f, "# {key} is unset"),
                Entry {
                    value: None,
                    source: Some(source),
                    ..
                } => writeln!(f, "# {key} is secret, set by {source}"),
                Entry {
                    value: Some(value),
                    source: Some(source),
                    ..
                } => writeln!(f, "{key} = {value} # {source}"),
            })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(place) => place.fmt(f),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}
