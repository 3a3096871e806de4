//! What a clap command says about keys.

use std::iter::{once, successors};
use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches, Command};

const CONFIG: &str = "config";

/// The key of an argument: its long flag. `--config` itself is none.
pub(super) fn key(arg: &Arg) -> Option<&str> {
    use ArgAction::{Help, HelpLong, HelpShort, Version};
    match arg.get_action() {
        Help | HelpShort | HelpLong | Version => None,
        _ => arg.get_long().filter(|long| *long != CONFIG),
    }
}

/// The environment variable of a long flag.
pub(super) fn variable(long: &str) -> String {
    format!("HEXAGRAM_{}", long.replace('-', "_").to_uppercase())
}

/// Gives every long flag its variable, so that none can be forgotten. That of a
/// repeatable flag holds one value a line, where the flag has no other delimiter.
pub(super) fn with_variables(command: Command) -> Command {
    let add = |arg: Arg| match arg.get_long().map(variable) {
        Some(variable) if arg.get_env().is_none() => lines(arg).env(variable),
        _ => arg,
    };
    command.mut_args(add).mut_subcommands(with_variables)
}

fn lines(arg: Arg) -> Arg {
    match (arg.get_action(), arg.get_value_delimiter()) {
        (ArgAction::Append, None) => arg.value_delimiter('\n'),
        _ => arg,
    }
}

/// The chosen subcommands, outermost first.
pub(super) fn role(matches: &ArgMatches) -> Vec<String> {
    successors(matches.subcommand(), |(_, inner)| inner.subcommand())
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// The file to read. clap shows a global flag at the top wherever it was given.
pub(super) fn config_file(matches: &ArgMatches) -> Option<&Path> {
    matches.try_get_raw(CONFIG).ok()??.next().map(Path::new)
}

/// The commands on the way to a role, outermost first.
pub(super) fn path<'a>(command: &'a Command, role: &[String]) -> Vec<&'a Command> {
    let inner = role.iter().scan(command, |outer, name| {
        *outer = outer.find_subcommand(name)?;
        Some(*outer)
    });
    once(command).chain(inner).collect()
}

/// Every key that any role knows.
pub(super) fn keys(command: &Command) -> Vec<&str> {
    let own = command.get_arguments().filter_map(key);
    own.chain(command.get_subcommands().flat_map(keys))
        .collect()
}
