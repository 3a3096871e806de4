//! The command line of `hexagram bench`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::era::Era;
use crate::run_args::{RunArgs, parse_seconds, parse_url};
use crate::sessions;
use crate::sessions::args::SessionsArgs;
use crate::target::{Target, Tool};

/// Arguments of `hexagram bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Load one server over Streamable HTTP and print rate, latency and CPU.
    Http(HttpArgs),
    /// Run the bare hyper server that figures are compared with, until SIGINT or SIGTERM.
    Bare(BareArgs),
    /// Load a server and the bare server in turn and print the ratios.
    Compare(CompareArgs),
    /// Open idle keep-alive connections and print the memory each one costs.
    Idle(IdleArgs),
    /// Keep many clients of both eras calling, and tell what they notice of what is done
    /// to the server meanwhile: a rollout, a lost node.
    #[command(after_help = sessions::args::HELP)]
    Sessions(SessionsArgs),
}

/// Which server to call, and how.
#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    /// MCP endpoint, plain http.
    #[arg(long, default_value = "http://127.0.0.1:8080/mcp", value_parser = parse_url)]
    pub(crate) url: String,
    /// How the client speaks: with a session, or 2026-07-28 without.
    #[arg(long, value_enum, default_value_t = Era::Legacy)]
    pub(crate) era: Era,
    /// Tool to call. It must return the text it was given.
    #[arg(long, default_value = "echo")]
    pub(crate) tool: String,
    /// Name of the tool's text argument.
    #[arg(long, default_value = "message")]
    pub(crate) argument: String,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

impl TargetArgs {
    /// The target they describe, at `url`.
    pub(crate) fn target(&self, url: &str) -> anyhow::Result<Arc<Target>> {
        let tool = Tool {
            name: &self.tool,
            argument: &self.argument,
        };
        Target::new(url, self.era, tool, &self.run.headers).map(Arc::new)
    }
}

/// Arguments of `bench http`.
#[derive(Debug, Args)]
pub(crate) struct HttpArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Keep-alive connections, each with at most one call in flight.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: u32,
    /// How long to send calls, in seconds.
    #[arg(long, default_value = "5", value_parser = parse_seconds)]
    pub(crate) seconds: Duration,
    /// Calls per second, at fixed times (open loop). Absent: as fast as answers come (closed loop).
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) rate: Option<u64>,
    /// Server process whose CPU time and memory to report. May be repeated.
    #[arg(long = "pid")]
    pub(crate) pids: Vec<u32>,
}

/// Arguments of `bench bare`.
#[derive(Debug, Args)]
pub(crate) struct BareArgs {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Runtime threads of the server.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: u16,
    /// End when standard input closes, so that no server outlives the bench that started it.
    #[arg(long, hide = true)]
    pub(crate) with_parent: bool,
}

/// Arguments of `bench compare`.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) reference: ReferenceArgs,
    /// Server process of the target (edge and worker: give both). May be repeated.
    #[arg(long = "pid", required = true)]
    pub(crate) pids: Vec<u32>,
    /// Keep-alive connections, each with at most one call in flight.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: u32,
    /// Rounds of each loop; a round is one run against bare and one against the target.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Length of one run, in seconds.
    #[arg(long, default_value = "3", value_parser = parse_seconds)]
    pub(crate) seconds: Duration,
    /// Calls per second of the open loop, the same for both.
    #[arg(long, default_value_t = 8000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) rate: u64,
}

/// Arguments of `bench idle`.
#[derive(Debug, Args)]
pub(crate) struct IdleArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) reference: ReferenceArgs,
    /// Server process of the target (edge and worker: give both). May be repeated.
    #[arg(long = "pid", required = true)]
    pub(crate) pids: Vec<u32>,
    /// Keep-alive connections to open; needs a limit of open files above it (`ulimit -n`).
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: u32,
    /// Open the session's standing stream (GET) on each connection of the target.
    #[arg(long)]
    pub(crate) streams: bool,
}

/// Which server to compare with.
#[derive(Debug, Args)]
pub(crate) struct ReferenceArgs {
    /// Compare with a server that runs already, instead of an own bare server.
    #[arg(long, requires = "bare_pids", value_parser = parse_url)]
    pub(crate) bare_url: Option<String>,
    /// Its process. May be repeated.
    #[arg(long = "bare-pid", requires = "bare_url")]
    pub(crate) bare_pids: Vec<u32>,
}
