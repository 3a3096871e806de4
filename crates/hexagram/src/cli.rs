//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use hexagram_bench::BenchArgs;
use hexagram_control::ControlMetrics;
use hexagram_edge::{Dial, EdgeArgs};
use hexagram_runtime::admin::AdminArgs;
use hexagram_runtime::config::{self, ConfigArgs, ConfigError, Parsed};
use hexagram_runtime::drain::DrainArgs;
use hexagram_runtime::metrics::Metrics;
use hexagram_runtime::telemetry::LogArgs;
use hexagram_runtime::threads::RuntimeArgs;
use hexagram_tls::LinkTlsArgs;
use hexagram_worker::{UpstreamArgs, UpstreamName};

use crate::check::CheckArgs;
use crate::cluster::ClusterArgs;
use crate::demo::DemoKind;
use crate::members::{MemberArgs, NamespaceArgs, place};
use crate::roles::keys::KeysCommand;
use crate::roles::order::{DrainOrder, MoveArgs};
use crate::roles::status::StatusArgs;
use crate::store::StoreArgs;

/// One MCP endpoint for a whole fleet of clients: a stateless edge in front of sharded workers.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Every option of a role is also a variable (--routing-spread is HEXAGRAM_ROUTING_SPREAD) \
                  and a key of the --config file ([routing] spread). The variable of a flag that may be \
                  repeated takes one value a line.\n\n\
                  Start here:\n  hexagram local\n  hexagram local --upstream git=http://127.0.0.1:3001/mcp"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(subcommand)]
    pub(crate) role: Role,
}

/// What this process does.
#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// Run a whole cluster in this process: an edge and workers.
    #[command(after_help = LOCAL_EXAMPLES)]
    Local(LocalArgs),
    /// Run an edge: serve clients, carry their messages to the workers.
    #[command(after_help = EDGE_EXAMPLES)]
    Edge(EdgeRole),
    /// Run a worker: host shards and reach the upstreams.
    #[command(after_help = WORKER_EXAMPLES)]
    Worker(WorkerRole),
    /// Run the controller: find out which workers live, and place the shards.
    #[command(after_help = CONTROL_EXAMPLES)]
    Control(ControlRole),
    /// Run the operator: the controller of a cluster in Kubernetes.
    #[command(after_help = OPERATOR_EXAMPLES)]
    Operator(OperatorRole),
    /// Print the definitions of the Kubernetes kinds, as YAML.
    #[command(after_help = "Example:\n  hexagram crd | kubectl apply --server-side -f -")]
    Crd,
    /// Move one shard to a worker, and wait until it is there.
    #[command(after_help = MOVE_EXAMPLES)]
    Move(MoveArgs),
    /// Move all shards away from a worker, and wait until it is empty.
    #[command(after_help = DRAIN_EXAMPLES)]
    Drain(DrainOrder),
    /// Show the shards, workers and links of a running process.
    #[command(
        after_help = "Examples:\n  hexagram status\n  hexagram status --admin 127.0.0.1:9091 -o json\n  hexagram status --watch"
    )]
    Status(StatusArgs),
    /// Make keys: the sealing key ring of a cluster, API keys of clients, certificates of links.
    #[command(
        subcommand,
        after_help = "Examples:\n  hexagram keys ring > ring.txt\n  hexagram keys api alice >> api-keys.txt\n  hexagram keys link --out links"
    )]
    Keys(KeysCommand),
    /// Print the effective configuration of a role and where each value comes from.
    #[command(
        subcommand,
        after_help = "Example:\n  hexagram config local --workers 4"
    )]
    Config(ConfigRole),
    /// Measure throughput, latency, CPU and memory, beside a bare server.
    Bench(BenchArgs),
    /// Tell which revisions and features of MCP an endpoint speaks, by asking it.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
}

/// The role whose configuration is printed.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigRole {
    /// Of `hexagram local`.
    Local(LocalArgs),
    /// Of `hexagram edge`.
    Edge(EdgeRole),
    /// Of `hexagram worker`.
    Worker(WorkerRole),
    /// Of `hexagram control`.
    Control(ControlRole),
    /// Of `hexagram operator`.
    Operator(OperatorRole),
}

const LOCAL_EXAMPLES: &str = "Examples:
  hexagram local                                        a built-in demo server
  hexagram local --upstream git=http://127.0.0.1:3001/mcp
  hexagram local --upstream everything=\"npx -y @modelcontextprotocol/server-everything@2026.8.31\"
  hexagram local --upstream a=http://127.0.0.1:3001/mcp --upstream b=http://127.0.0.1:3002/mcp";

const EDGE_EXAMPLES: &str = "Example (two workers on this machine):
  hexagram keys ring > ring.txt
  hexagram worker --name worker-0 --peer worker-0=127.0.0.1:7100 --peer worker-1=127.0.0.1:7101 \\
      --keys ring.txt --admin 127.0.0.1:9100 --upstream git=http://127.0.0.1:3001/mcp
  hexagram worker --name worker-1 (the same, --admin 127.0.0.1:9101)
  hexagram edge --peer worker-0=127.0.0.1:7100 --peer worker-1=127.0.0.1:7101 --keys ring.txt

Under a controller, an edge that is to start while that is away asks workers, whose addresses
are then fixed (`hexagram worker --link ADDR`):
  hexagram edge --control http://127.0.0.1:9070 --keys ring.txt --ask 127.0.0.1:7100 \\
      --ask 127.0.0.1:7101";

const WORKER_EXAMPLES: &str =
    "Examples (under `hexagram control`, whose --control-listen address is given):
  hexagram keys ring > ring.txt
  hexagram worker --name worker-0 --control http://127.0.0.1:9070 --keys ring.txt \\
      --admin 127.0.0.1:9100 --upstream git=http://127.0.0.1:3001/mcp
  hexagram worker --name worker-1 (the same, --admin 127.0.0.1:9101)
Sessions outlive a worker's crash with (the same for every worker):
      --store redis://127.0.0.1:6379/0

Example (without a controller, a map that never changes, the same --peer for every process):
  hexagram worker --name worker-0 --peer worker-0=127.0.0.1:7100 --peer worker-1=127.0.0.1:7101 \\
      --keys ring.txt --admin 127.0.0.1:9100 --upstream git=http://127.0.0.1:3001/mcp

Under a controller /readyz of the --admin address says 503 until the worker has joined.";

const CONTROL_EXAMPLES: &str = "Example (workers come and go):
  hexagram keys ring > ring.txt
  hexagram control --state control.json
  hexagram worker --name worker-0 --control http://127.0.0.1:9070 --keys ring.txt \\
      --admin 127.0.0.1:9100 --upstream git=http://127.0.0.1:3001/mcp
  hexagram edge --control http://127.0.0.1:9070 --keys ring.txt --admin 127.0.0.1:9091

Workers and edges are given the --control-listen address; `hexagram status`, `move` and
`drain` the --admin address. The shards of a worker that dies go to others within about two
seconds, those of one that hangs within ten; edges hold its calls for three. Without a
controller everything that is placed goes on, and nothing moves.";

const OPERATOR_EXAMPLES: &str = "Example (the Helm chart gives all of it):
  hexagram operator --name operator-0 --shard-map hexagram --keys-secret hexagram-keys \\
      --worker-selector app.kubernetes.io/instance=hexagram,app.kubernetes.io/component=worker \\
      --link-secrets hexagram-link

It makes the ShardMap and the Secrets of key ring and links where they are not, rotates their
keys, asks the workers' pods who
they are, and places the shards. Edges and workers follow the object with --shard-map. Of
several operators one leads, the holder of the Lease; the others stand by. Without an operator
everything that is placed goes on, and nothing moves. `hexagram status`, `move` and `drain`
take its --admin address, from its own pod:
  kubectl exec deployment/hexagram-operator -- hexagram status";

const MOVE_EXAMPLES: &str = "Examples:
  hexagram move 17 worker-1
  hexagram move 17 worker-1 --admin 127.0.0.1:9190

--admin is the admin address of `hexagram control` or `hexagram local`, which take orders from
their own machine only. `hexagram status` shows which worker has which shard.";

const DRAIN_EXAMPLES: &str = "Examples:
  hexagram drain worker-0
  hexagram drain worker-0 --admin 127.0.0.1:9190
  hexagram drain worker-0 --cancel

The worker is given no shards until --cancel, or until it is restarted. A controller that is
restarted has forgotten its drains: order them again. --admin is the admin address of
`hexagram control` or `hexagram local`, which take orders from their own machine only.
`hexagram status --watch` shows the shards meanwhile.";

const CHECK_EXAMPLES: &str = "\
It only looks: it calls no tool, reads no resource, and ends the sessions that it opens.

Exit codes:
  0  it is an MCP endpoint, and speaks every --require
  1  it cannot be reached
  2  the command line is wrong
  3  it answers, but not as an MCP endpoint, or misses a --require

Examples:
  hexagram check http://127.0.0.1:8080/mcp
  hexagram check https://mcp.example.com/mcp --header \"Authorization: Bearer $TOKEN\"
  hexagram check http://127.0.0.1:3001/mcp --require 2026-07-28 -o json
The variable HEXAGRAM_HEADER keeps a token out of the list of processes.";

/// What every serving role takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) log: LogArgs,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
    #[command(flatten)]
    pub(crate) runtime: RuntimeArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) drain: DrainArgs,
}

/// Settings of `hexagram local`.
#[derive(Debug, Clone, Args)]
pub(crate) struct LocalArgs {
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    #[command(flatten)]
    pub(crate) edge: EdgeArgs,
    #[command(flatten)]
    pub(crate) upstream: UpstreamArgs,
    /// Workers in this process.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) workers: u16,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// The built-in server to serve when no upstream is given.
    #[arg(long, default_value = "tour", value_name = "KIND")]
    pub(crate) demo: DemoKind,
}

/// What a controller is told, wherever its register is.
#[derive(Debug, Clone, Args)]
pub(crate) struct ControllerArgs {
    /// Workers to wait for before the shards of a new cluster are placed; without
    /// it, until none has joined for a second.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) workers_expected: Option<u16>,
}

impl ControllerArgs {
    /// As a controller of `cluster` takes it.
    pub(crate) fn settings(
        &self,
        cluster: &ClusterArgs,
        dial: Dial,
        metrics: &Metrics,
    ) -> hexagram_control::Settings {
        hexagram_control::Settings {
            cluster: cluster.cluster.clone(),
            shards: cluster.shards,
            expected: self.workers_expected.map(usize::from),
            dial,
            metrics: ControlMetrics::register(metrics),
        }
    }
}

/// Settings of `hexagram control`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ControlRole {
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    /// Address that workers join at and edges follow the shard map at.
    #[arg(long, default_value = "127.0.0.1:9070", value_name = "ADDR")]
    pub(crate) control_listen: SocketAddr,
    /// File that keeps the shard map over a restart. Without it the map is learnt
    /// again from the workers.
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) link_tls: LinkTlsArgs,
    #[command(flatten)]
    pub(crate) controller: ControllerArgs,
}

/// Settings of `hexagram operator`.
#[derive(Debug, Clone, Args)]
pub(crate) struct OperatorRole {
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    #[command(flatten)]
    pub(crate) namespace: NamespaceArgs,
    /// This operator's name among others, such as its pod's.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: String,
    /// The ShardMap object to write; it is made if it is not there.
    #[arg(long, value_name = "NAME")]
    pub(crate) shard_map: String,
    /// The Lease whose holder leads; without it one of the ShardMap's name.
    #[arg(long, value_name = "NAME")]
    pub(crate) lease: Option<String>,
    /// The Secret with the key ring (at ring.txt); it is made if it is not there.
    #[arg(long, value_name = "NAME")]
    pub(crate) keys_secret: String,
    /// Days after which another key of the ring mints; 0 is never. The annotation
    /// hexagram.dev/rotate-keys of the Secret asks for one at once, whatever it says.
    #[arg(long, default_value_t = 90, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(..=3650))]
    pub(crate) keys_rotate: u64,
    /// Seconds within which every pod has a change of the Secret: no step of a rotation comes
    /// sooner after the one before.
    #[arg(long, default_value_t = 300, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) keys_settle: u64,
    /// The Secret in which workers are given the namespace's Upstream objects, which they
    /// mount as their --upstream-dir; without it the objects are not followed.
    #[arg(long, value_name = "NAME")]
    pub(crate) upstreams_secret: Option<String>,
    /// A Secret that headers of Upstream objects may come from; may be repeated.
    #[arg(long = "upstream-header-secret", value_name = "NAME")]
    pub(crate) upstream_header_secrets: Vec<String>,
    /// A name of an upstream that the workers' own settings have: an Upstream object that
    /// would be served under it is not, and says so; may be repeated.
    #[arg(long = "upstream-name-taken", value_name = "NAME")]
    pub(crate) upstream_names_taken: Vec<UpstreamName>,
    /// The labels of the workers' pods.
    #[arg(long, value_name = "SELECTOR")]
    pub(crate) worker_selector: String,
    /// The port of the workers' links.
    #[arg(long, default_value_t = 7100, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) link_port: u16,
    /// What the names of the links' Secrets begin with: PREFIX-ca, which is the operator's
    /// alone, PREFIX-edge and PREFIX-worker, which edges and workers mount for --link-tls.
    /// They are made if they are not there, and renewed. Without it, or --link-tls, links
    /// are plain.
    #[arg(long, value_name = "PREFIX", conflicts_with = "link_tls")]
    pub(crate) link_secrets: Option<String>,
    #[command(flatten)]
    pub(crate) link_tls: LinkTlsArgs,
    #[command(flatten)]
    pub(crate) controller: ControllerArgs,
}

/// Settings of `hexagram edge`.
#[derive(Debug, Clone, Args)]
pub(crate) struct EdgeRole {
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    #[command(flatten)]
    pub(crate) edge: EdgeArgs,
    #[command(flatten)]
    pub(crate) members: MemberArgs,
    /// HOST:PORT of a worker's link that is asked for the shard map when this edge starts
    /// and neither the controller nor the ShardMap is reached within two seconds; may be
    /// repeated, and of a name that leads to several workers up to 16 are asked.
    #[arg(long, value_name = "HOST:PORT", value_parser = place)]
    pub(crate) ask: Vec<String>,
    #[command(flatten)]
    pub(crate) link_tls: LinkTlsArgs,
    /// This edge's name, for logs and the workers.
    #[arg(long, default_value = "edge-0", value_name = "NAME")]
    pub(crate) name: String,
}

/// Settings of `hexagram worker`.
#[derive(Debug, Clone, Args)]
pub(crate) struct WorkerRole {
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    #[command(flatten)]
    pub(crate) upstream: UpstreamArgs,
    #[command(flatten)]
    pub(crate) members: MemberArgs,
    /// HOST:PORT of other workers' links, which are asked for the epochs that they know before
    /// this worker takes over what it owned in its last life, beside those that the ShardMap
    /// names; may be repeated, and of a name that leads to several workers all are asked.
    #[arg(long, value_name = "HOST:PORT", value_parser = place)]
    pub(crate) ask: Vec<String>,
    #[command(flatten)]
    pub(crate) link_tls: LinkTlsArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// This worker's name; with --peer, which of the peers it is.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: hexagram_core::WorkerId,
    /// Address for links, where it differs from the one the peers use.
    #[arg(long, value_name = "ADDR")]
    pub(crate) link: Option<SocketAddr>,
    /// HOST:PORT at which edges, workers and the controller reach this worker's
    /// --link address, where it differs; with --control only.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) advertise: Option<String>,
    /// Serve a built-in server, for trying and measuring.
    #[arg(long, value_name = "KIND")]
    pub(crate) demo: Option<DemoKind>,
    /// Offer the built-in server's tasks, which are lost with this process.
    #[arg(long)]
    pub(crate) tasks_in_memory: bool,
}

/// The command line over the environment over the file.
pub(crate) fn parse() -> Result<Parsed<Cli>, ConfigError> {
    config::parse(std::env::args_os())
}
