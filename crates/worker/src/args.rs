//! Settings of a worker's upstreams.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use hexagram_upstreams::{
    Retry, RetryRule, UpstreamFile, UpstreamFolder, UpstreamName, UpstreamSpec, UpstreamTarget,
};

use crate::upstream::{ChildLimit, Upstream, UpstreamError, UpstreamLimits};

/// Where answers come from, and how long to wait for them.
#[derive(Debug, Clone, Args)]
pub struct UpstreamArgs {
    /// An MCP server to serve: NAME=URL, or in `local` NAME="command args"; may be repeated.
    #[arg(long = "upstream", value_name = "NAME=URL|CMD")]
    pub upstreams: Vec<UpstreamSpec>,

    /// A folder with a file NAME.toml for each further upstream: `url`, and if wanted `retry`
    /// and a table of `headers`. Files may come, change and go at any time.
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
    /// of; in its place goes on what is `served` under its name.
    ///
    /// # Errors
    /// Why one of the flags, or the folder, cannot be used at all.
    pub fn build(
        &self,
        children: &ChildLimit,
        served: &[Arc<Upstream>],
    ) -> Result<Vec<Arc<Upstream>>, UpstreamError> {
        let given = self.upstreams.iter();
        let given = given.map(|spec| self.upstream(spec.clone(), None, children));
        let mut all = given.collect::<Result<Vec<_>, _>>()?;
        if let Some(folder) = &self.upstream_dir {
            self.add_files(folder, &mut all, served)?;
        }
        Ok(all)
    }

    fn upstream(
        &self,
        spec: UpstreamSpec,
        retry: Option<Retry>,
        children: &ChildLimit,
    ) -> Result<Arc<Upstream>, UpstreamError> {
        let retry = retry.unwrap_or_else(|| RetryRule::of(&self.upstream_retry, &spec.name));
        let upstream = Upstream::from_spec(spec, self.limits(), children)?;
        Ok(Arc::new(upstream.retrying(retry)))
    }

    fn add_files(
        &self,
        folder: &Path,
        all: &mut Vec<Arc<Upstream>>,
        served: &[Arc<Upstream>],
    ) -> Result<(), UpstreamError> {
        let unreadable =
            |error| UpstreamError::Unreachable(format!("{}: {error}", folder.display()));
        let UpstreamFolder { files, errors } = UpstreamFolder::read(folder).map_err(unreadable)?;
        let named = |all: &[Arc<Upstream>], name: &UpstreamName| {
            all.iter().find(|one| one.name() == name.as_str()).cloned()
        };
        for UpstreamFile { spec, retry } in files {
            match named(all, &spec.name) {
                Some(_) => tracing::error!(
                    upstream = %spec.name,
                    "a file in {} has the name of an --upstream: it is left out",
                    folder.display()
                ),
                // Files name URLs only: there are no children.
                None => all.push(self.upstream(spec, retry, &ChildLimit::new(0))?),
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
        self.upstreams
            .iter()
            .find(|spec| matches!(spec.target, UpstreamTarget::Command(_)))
    }

    /// The upstream that a rule names and that is not there, if there is such a rule.
    pub fn unknown_in_rules(&self) -> Option<&UpstreamName> {
        let mut named = self
            .upstream_retry
            .iter()
            .filter_map(|rule| rule.upstream.as_ref());
        named.find(|name| self.upstreams.iter().all(|spec| spec.name != **name))
    }

    /// How long a quiet client's upstream sessions are kept.
    pub fn session_idle(&self) -> Duration {
        Duration::from_secs(self.session_idle)
    }

    fn limits(&self) -> UpstreamLimits {
        UpstreamLimits {
            connect: Duration::from_secs(self.upstream_connect_timeout),
            handshake: Duration::from_secs(self.upstream_handshake_timeout),
            silence: Duration::from_secs(self.upstream_timeout),
            max_message: self.upstream_max_message as usize,
        }
    }
}
