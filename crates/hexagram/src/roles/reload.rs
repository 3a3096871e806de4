//! What of the configuration a running process takes over (ADR 0010).

use std::path::Path;

use anyhow::{Result, anyhow};
use hexagram_runtime::config::{Effective, Source};
use hexagram_runtime::reload::Trigger;
use hexagram_runtime::telemetry::{LogArgs, LogFilter};
use hexagram_runtime::watched::WatchedFile;
use hexagram_worker::{Replaced, UpstreamArgs};

use crate::cli::{self, Role};

/// The key whose value is a list of upstreams.
const UPSTREAM: &str = "upstream";
/// The keys that are taken over; what the file says of others waits for the
/// next start.
const TAKEN_OVER: [&str; 8] = [
    UPSTREAM,
    "upstream-connect-timeout",
    "upstream-handshake-timeout",
    "upstream-timeout",
    "upstream-max-message",
    "upstream-retry",
    "upstream-era",
    "log",
];

/// Follows the config file of a running process.
pub(crate) struct Reload {
    /// The config file and the upstreams' folder, from before they were read. None where
    /// there is neither: then SIGHUP ends the process as ever.
    pub(crate) watched: Vec<WatchedFile>,
    /// What the process started with.
    pub(crate) started: Effective,
    pub(crate) logs: LogFilter,
}

impl Reload {
    /// Reads the configuration again whenever there is reason to, also where only something
    /// in the folder changed, and gives `apply` the upstreams in it.
    pub(crate) async fn follow(mut self, apply: impl Fn(&UpstreamArgs) -> Result<Replaced>) {
        let watched = std::mem::take(&mut self.watched);
        if watched.is_empty() {
            return;
        }
        let mut trigger = match Trigger::install(watched) {
            Ok(trigger) => trigger,
            Err(error) => return tracing::error!(%error, "the configuration is not reloaded"),
        };
        loop {
            let cause = trigger.next().await;
            match self.reload(&apply) {
                Ok(Replaced { added, removed }) => {
                    tracing::info!(cause, ?added, ?removed, "configuration reloaded");
                }
                Err(error) => {
                    tracing::error!(
                        cause,
                        "configuration not reloaded, the old one stays: {error}"
                    );
                }
            }
        }
    }

    fn reload(&self, apply: impl Fn(&UpstreamArgs) -> Result<Replaced>) -> Result<Replaced> {
        let parsed = cli::parse()?;
        let Some((upstreams, log)) = changeable(&parsed.args.role) else {
            return Ok(Replaced::default());
        };
        let replaced = apply(upstreams).map_err(|error| blamed(&parsed.effective, &error))?;
        self.logs.set(&log.filter)?;
        for (key, source) in parsed.effective.changed_in_file(&self.started) {
            if let Some(reason) = ignored(key, source) {
                tracing::warn!(key, "the config file's change has no effect: {reason}");
            }
        }
        Ok(replaced)
    }
}

/// The folder of upstreams that the role follows.
pub(super) fn folder(role: &Role) -> Option<&Path> {
    let (upstreams, _) = changeable(role)?;
    upstreams.upstream_dir.as_deref()
}

/// What of a role's settings may change while it runs.
fn changeable(role: &Role) -> Option<(&UpstreamArgs, &LogArgs)> {
    match role {
        Role::Local(args) => Some((&args.upstream, &args.serve.log)),
        Role::Worker(args) => Some((&args.upstream, &args.serve.log)),
        _ => None,
    }
}

/// The error with the line that it comes from.
fn blamed(effective: &Effective, error: &anyhow::Error) -> anyhow::Error {
    let source = effective.get(UPSTREAM).and_then(|entry| entry.source());
    match source {
        Some(Source::File(place)) => anyhow!("{place}: wrong value for `{UPSTREAM}`: {error:#}"),
        _ => anyhow!("{error:#}"),
    }
}

/// Why a change of this key in the file is not followed, if it is not.
fn ignored(key: &str, source: Option<&Source>) -> Option<String> {
    match source {
        Some(wins @ (Source::Flag | Source::Variable(_))) => {
            Some(format!("the {wins} wins over it"))
        }
        _ if TAKEN_OVER.contains(&key) => None,
        _ => Some("it is read at the next start".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_followed_says_why() {
        for key in TAKEN_OVER {
            assert_eq!(ignored(key, None), None, "{key}");
        }
        let flag = ignored(UPSTREAM, Some(&Source::Flag));
        assert_eq!(flag.as_deref(), Some("the flag wins over it"));
        let variable = Source::Variable("HEXAGRAM_LOG".to_owned());
        let variable = ignored("log", Some(&variable));
        let expected = "the variable HEXAGRAM_LOG wins over it";
        assert_eq!(variable.as_deref(), Some(expected));
        let later = ignored("listen", Some(&Source::Default));
        assert_eq!(later.as_deref(), Some("it is read at the next start"));
    }

    #[test]
    fn what_is_taken_over_are_keys() {
        use clap::CommandFactory;
        let command = crate::cli::Cli::command();
        for role in ["local", "worker"] {
            let role = command.find_subcommand(role).expect("a role");
            let is_flag = |key: &str| role.get_arguments().any(|arg| arg.get_long() == Some(key));
            assert!(TAKEN_OVER.into_iter().all(is_flag));
        }
    }
}
