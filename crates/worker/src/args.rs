//! Settings of a worker's upstreams.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::upstream::{
    ChildLimit, RetryRule, Upstream, UpstreamError, UpstreamLimits, UpstreamName, UpstreamSpec,
    UpstreamTarget,
};

/// Where answers come from, and how long to wait for them.
#[derive(Debug, Clone, Args)]
pub struct UpstreamArgs {
    /// An MCP server to serve: NAME=URL, or in `local` NAME="command args"; may be repeated.
    #[arg(long = "upstream", value_name = "NAME=URL|CMD")]
    pub upstreams: Vec<UpstreamSpec>,

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
    /// The upstreams asked for, each ready to be opened.
    ///
    /// # Errors
    /// Why one of them cannot be used at all.
    pub fn build(&self, children: &ChildLimit) -> Result<Vec<Arc<Upstream>>, UpstreamError> {
        self.upstreams
            .iter()
            .map(|spec| self.upstream(spec, children).map(Arc::new))
            .collect()
    }

    fn upstream(
        &self,
        spec: &UpstreamSpec,
        children: &ChildLimit,
    ) -> Result<Upstream, UpstreamError> {
        let retry = RetryRule::of(&self.upstream_retry, &spec.name);
        let upstream = Upstream::from_spec(spec.clone(), self.limits(), children)?;
        Ok(upstream.retrying(retry))
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
