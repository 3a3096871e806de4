//! Settings of a worker's upstreams.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use hexagram_upstreams::{
    EraRule, EraSetting, RetryRule, Timeouts, UpstreamFile, UpstreamFolder, UpstreamName,
    UpstreamSpec, UpstreamTarget,
};

use crate::upstream::{ChildLimit, Upstream, UpstreamError, UpstreamLimits};

/// Where answers come from, and how long to wait for them.
#[derive(Debug, Clone, Args)]
pub struct UpstreamArgs {
    /// An MCP server to serve: NAME=URL, or in `local` NAME="command args"; may be repeated.
    #[arg(long = "upstream", value_name = "NAME=URL|CMD")]
    pub upstreams: Vec<UpstreamSpec>,

    /// A folder with a file NAME.toml for each further upstream: `url`, and if wanted `retry`,
    /// `era` and tables of `timeouts` and `headers`. Files may come, change and go at any time.
    #[arg(long, value_name = "DIR")]
    pub upstream_dir: Option<PathBuf>,

    /// Seconds to wait for a connection to an upstream.
    #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub upstream_connect_timeout: u64,

    /// Seconds an upstream may take to start and to introduce itself.
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub upstream_handshake_timeout: u64,

    /// Seconds an upstream may be silent while it works on a request.
    #[arg(long, default_value_t = 300, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub upstream_timeout: u64,

    /// Which tool calls run again when the worker that had them is lost: those `declared`
    /// harmless by their tools, or `never` any; NAME= for one upstream; may be repeated.
    #[arg(long, value_name = "[NAME=]declared|never")]
    pub upstream_retry: Vec<RetryRule>,

    /// What upstreams speak: `auto` finds out by asking, `legacy` and `modern` are believed;
    /// NAME= for one upstream; may be repeated.
    #[arg(long, value_name = "[NAME=]auto|legacy|modern")]
    pub upstream_era: Vec<EraRule>,

    /// Longest message accepted from an upstream, in bytes.
    #[arg(long, default_value_t = 16 << 20, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1024..=64 << 20))]
    pub upstream_max_message: u32,

    /// Children started for stdio upstreams, at most.
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub max_children: u16,

    /// Seconds after which a quiet client's upstream sessions are closed.
    #[arg(long, default_value_t = 300, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub session_idle: u64,
}

impl UpstreamArgs {
    /// The upstreams asked for, each ready to be opened. A file that cannot be used is told
    /// of; in its place goes on what is `served` under its name. A folder that is gone is told
    /// of too, and all that is served of it goes on.
    ///
    /// # Errors
    /// Why one of the flags, or the folder, cannot be used at all.
    pub fn build(
        &self,
        children: &ChildLimit,
        served: &[Arc<Upstream>],
    ) -> Result<Vec<Arc<Upstream>>, UpstreamError> {
        let given = self.upstreams.iter();
        let given = given.map(|spec| self.upstream(as_given(spec), children));
        let mut all = given.collect::<Result<Vec<_>, _>>()?;
        if let Some(folder) = &self.upstream_dir {
            self.add_files(folder, &mut all, served)?;
        }
        Ok(all)
    }

    fn upstream(
        &self,
        file: UpstreamFile,
        children: &ChildLimit,
    ) -> Result<Arc<Upstream>, UpstreamError> {
        let UpstreamFile {
            spec,
            retry,
            era,
            timeouts,
        } = file;
        let retry = retry.unwrap_or_else(|| RetryRule::of(&self.upstream_retry, &spec.name));
        let era = era.unwrap_or_else(|| EraRule::of(&self.upstream_era, &spec.name));
        let upstream = Upstream::from_spec(spec, self.limits(timeouts), children)?;
        Ok(Arc::new(upstream.retrying(retry).speaking(era)))
    }

    fn add_files(
        &self,
        folder: &Path,
        all: &mut Vec<Arc<Upstream>>,
        served: &[Arc<Upstream>],
    ) -> Result<(), UpstreamError> {
        let unreadable =
            |error| UpstreamError::Unreachable(format!("{}: {error}", folder.display()));
        let read = UpstreamFolder::read(folder).map_err(unreadable)?;
        if !read.is_there {
            keep(folder, all, served);
        }
        let UpstreamFolder { files, errors, .. } = read;
        let named = |all: &[Arc<Upstream>], name: &UpstreamName| {
            all.iter().find(|one| one.name() == name.as_str()).cloned()
        };
        for file in files {
            match named(all, &file.spec.name) {
                Some(_) => tracing::error!(
                    upstream = %file.spec.name,
                    "a file in {} has the name of an --upstream: it is left out",
                    folder.display()
                ),
                // Files name URLs only: there are no children.
                None => {
                    let upstream = self.upstream(file, &ChildLimit::new(0))?;
                    upstream.put_in_folder(true);
                    all.push(upstream);
                }
            }
        }
        for error in errors {
            let old = error.name.as_ref().and_then(|name| named(served, name));
            let old = old.filter(|old| all.iter().all(|one| one.name() != old.name()));
            tracing::error!(%error, goes_on = old.is_some(), "an upstream's file cannot be used");
            all.extend(old);
        }
        Ok(())
    }

    /// The first upstream that is a command, if there is one.
    pub fn first_command(&self) -> Option<&UpstreamSpec> {
        self.upstreams.iter().find(|spec| is_command(spec))
    }

    /// What is wrong with a rule that names an upstream, for people, if anything is.
    pub fn wrong_rule(&self) -> Option<String> {
        self.unknown_in_rules().or_else(|| self.command_with_era())
    }

    fn unknown_in_rules(&self) -> Option<String> {
        let retries = self.upstream_retry.iter();
        let retries = retries.map(|rule| ("--upstream-retry", rule.upstream.as_ref()));
        let eras = self.upstream_era.iter();
        let eras = eras.map(|rule| ("--upstream-era", rule.upstream.as_ref()));
        let mut named = retries
            .chain(eras)
            .filter_map(|(flag, name)| Some((flag, name?)));
        let (flag, name) = named.find(|(_, name)| self.given(name).is_none())?;
        Some(format!(
            "{flag} names {name}, which is no upstream: use a name that --upstream gives"
        ))
    }

    fn command_with_era(&self) -> Option<String> {
        // `auto` is what holds without a rule.
        let rules = self.upstream_era.iter();
        let mut named = rules
            .filter(|rule| rule.value != EraSetting::Auto)
            .filter_map(|rule| self.given(rule.upstream.as_ref()?));
        let name = &named.find(|spec| is_command(spec))?.name;
        Some(format!(
            "--upstream-era names {name}, which is a command: commands are spoken to in the \
             legacy era, take the rule out"
        ))
    }

    fn given(&self, name: &UpstreamName) -> Option<&UpstreamSpec> {
        self.upstreams.iter().find(|spec| spec.name == *name)
    }

    /// How long a quiet client's upstream sessions are kept.
    pub fn session_idle(&self) -> Duration {
        Duration::from_secs(self.session_idle)
    }

    /// What its own file says comes before the flags.
    fn limits(&self, own: Timeouts) -> UpstreamLimits {
        let seconds = |own: Option<u32>, flag| Duration::from_secs(own.map_or(flag, u64::from));
        UpstreamLimits {
            connect: seconds(own.connect, self.upstream_connect_timeout),
            handshake: seconds(own.handshake, self.upstream_handshake_timeout),
            silence: seconds(own.silence, self.upstream_timeout),
            max_message: self.upstream_max_message as usize,
        }
    }
}

const fn is_command(spec: &UpstreamSpec) -> bool {
    matches!(spec.target, UpstreamTarget::Command(_))
}

/// An upstream of the flags says nothing of itself.
fn as_given(spec: &UpstreamSpec) -> UpstreamFile {
    UpstreamFile {
        spec: spec.clone(),
        retry: None,
        era: None,
        timeouts: Timeouts::default(),
    }
}

/// A folder that is gone may come back, as when it is mounted anew: until then all that is
/// `served` of it stays.
fn keep(folder: &Path, all: &mut Vec<Arc<Upstream>>, served: &[Arc<Upstream>]) {
    let is_free = |one: &Upstream| all.iter().all(|other| other.name() != one.name());
    let kept = served
        .iter()
        .filter(|one| one.is_in_folder() && is_free(one));
    let kept: Vec<_> = kept.cloned().collect();
    if !kept.is_empty() {
        let upstreams: Vec<_> = kept.iter().map(|one| one.name()).collect();
        tracing::error!(
            ?upstreams,
            "the folder {} is gone: what it had is served on",
            folder.display()
        );
    }
    all.extend(kept);
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;
    use hexagram_core::Era;

    use super::*;

    #[derive(Parser)]
    struct Settings {
        #[command(flatten)]
        upstream: UpstreamArgs,
    }

    fn built(given: &[String], served: &[Arc<Upstream>]) -> Vec<Arc<Upstream>> {
        let flags = ["worker".to_owned()].into_iter().chain(given.to_vec());
        let given = Settings::parse_from(flags).upstream;
        let built = given.build(&ChildLimit::new(0), served);
        built.expect("upstreams")
    }

    #[test]
    fn an_upstream_s_own_timeouts_come_before_the_flags() {
        let flags = ["worker", "--upstream-timeout=7"];
        let given = Settings::parse_from(flags).upstream;
        let own = Timeouts {
            connect: Some(2),
            ..Timeouts::default()
        };
        let limits = given.limits(own);
        assert_eq!(limits.connect, Duration::from_secs(2));
        assert_eq!(limits.silence, Duration::from_secs(7));
        let default = given.limits(Timeouts::default());
        assert_eq!(default.connect, Duration::from_secs(5));
    }

    #[test]
    fn a_file_s_own_era_comes_before_the_flags() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, era) in [("docs", "era = 'legacy'"), ("git", "")] {
            let text = format!("url = 'http://{name}/mcp'\n{era}\n");
            fs::write(folder.path().join(format!("{name}.toml")), text).expect("written");
        }
        let flag = format!("--upstream-dir={}", folder.path().display());
        let served = built(&[flag, "--upstream-era=modern".to_owned()], &[]);
        assert_eq!(names(&served), ["docs", "git"]);
        let eras = served.iter().map(|upstream| upstream.era_for(Era::Legacy));
        assert_eq!(eras.collect::<Vec<_>>(), [Era::Legacy, Era::Modern]);
    }

    #[test]
    fn a_rule_names_an_upstream_that_it_can_be_for() {
        for (rule, wrong) in [
            ("--upstream-era=legacy", None),
            ("--upstream-era=git=legacy", None),
            (
                "--upstream-era=doc=legacy",
                Some("--upstream-era names doc"),
            ),
            (
                "--upstream-retry=doc=never",
                Some("--upstream-retry names doc"),
            ),
            ("--upstream-era=cat=auto", None),
            ("--upstream-era=cat=legacy", Some("which is a command")),
        ] {
            let flags = [
                "worker",
                "--upstream=git=http://git/mcp",
                "--upstream=cat=cat",
                rule,
            ];
            let found = Settings::parse_from(flags).upstream.wrong_rule();
            match wrong {
                Some(why) => assert!(found.is_some_and(|told| told.contains(why)), "{rule}"),
                None => assert_eq!(found, None, "{rule}"),
            }
        }
    }

    fn names(upstreams: &[Arc<Upstream>]) -> Vec<&str> {
        upstreams.iter().map(|upstream| upstream.name()).collect()
    }

    #[test]
    fn a_folder_that_is_gone_takes_nothing_with_it() {
        let outer = tempfile::tempdir().expect("a folder");
        let folder = outer.path().join("upstreams");
        fs::create_dir(&folder).expect("made");
        fs::write(folder.join("docs.toml"), "url = 'http://docs/mcp'").expect("written");
        let flag = format!("--upstream-dir={}", folder.display());
        let git = "--upstream=git=http://git/mcp".to_owned();
        let served = built(&[flag.clone(), git], &[]);
        assert_eq!(names(&served), ["git", "docs"]);
        fs::remove_dir_all(&folder).expect("removed");
        let flag = [flag];
        assert!(built(&flag, &[]).is_empty(), "it may come later");
        let left = built(&flag, &served);
        assert_eq!(names(&left), ["docs"], "git is no more among the flags");
        assert!(Arc::ptr_eq(&left[0], &served[1]));
        fs::create_dir(&folder).expect("made");
        assert!(
            built(&flag, &left).is_empty(),
            "an empty one is no missing one"
        );
    }
}
