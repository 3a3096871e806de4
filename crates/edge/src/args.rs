//! The edge's settings: every one a flag, a variable and a key of the file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use ipnet::IpNet;

/// How clients prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AuthKind {
    /// Everybody is anonymous.
    None,
    /// `Authorization: Bearer KEY` or `X-API-Key: KEY`, checked against `--auth-keys`.
    ApiKeys,
    /// A header set by a proxy in front, named by `--auth-header`.
    TrustedHeader,
}

/// Settings of an edge.
#[derive(Debug, Clone, Args)]
pub struct EdgeArgs {
    /// Address for clients; the MCP endpoint is /mcp.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub listen: SocketAddr,

    /// How clients prove who they are.
    #[arg(long, default_value = "none", value_name = "KIND")]
    pub auth: AuthKind,

    /// File of hashed API keys, one `NAME SHA256` a line (see `hexagram keys api`); reloaded on change.
    #[arg(long, value_name = "FILE")]
    pub auth_keys: Option<PathBuf>,

    /// Header that carries the principal's name, believed only from --trusted-proxies.
    #[arg(long, default_value = "x-forwarded-user", value_name = "NAME")]
    pub auth_header: String,

    /// Address range of proxies in front, e.g. 10.0.0.0/8; may be repeated.
    #[arg(long, value_delimiter = ',', value_name = "CIDR", value_parser = range)]
    pub trusted_proxies: Vec<IpNet>,

    /// Header that names the client (routing key), believed only from --trusted-proxies.
    #[arg(long, value_name = "NAME")]
    pub routing_header: Option<String>,

    /// Over how many ClientIds one principal's modern requests spread.
    #[arg(long, default_value_t = 16, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..))]
    pub routing_spread: u16,

    /// Host header accepted, e.g. mcp.example.com; may be repeated; `*` accepts all.
    /// Without it only loopback names are.
    #[arg(long, value_delimiter = ',', value_name = "HOST")]
    pub allowed_hosts: Vec<String>,

    /// Origin accepted from browsers, e.g. `https://app.example.com`; may be repeated; `*` accepts all.
    /// Without it only loopback origins are.
    #[arg(long, value_delimiter = ',', value_name = "ORIGIN")]
    pub allowed_origins: Vec<String>,

    /// Longest message from a client, in bytes (at most 16 MiB).
    #[arg(long, default_value_t = 1 << 20, value_name = "BYTES",
          value_parser = clap::value_parser!(u32).range(1024..=16 << 20))]
    pub max_message: u32,

    /// Open client connections at most, fewer where the limit of open files is lower; further
    /// ones wait to be accepted.
    #[arg(long, default_value_t = 20_000, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: u32,

    /// Seconds between keep-alive comments on a quiet stream.
    #[arg(long, default_value_t = 15, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub keep_alive: u64,

    /// Seconds after which an HTTP/1.1 connection without a complete request head is closed.
    /// A quiet HTTP/2 connection is pinged then, and closed if its client does not answer.
    #[arg(long, default_value_t = 300, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub idle_timeout: u64,

    /// Seconds after which a client is asked to connect again, at most; half of it at least.
    /// Standing streams end with their connection, and go on where they were. New edges get
    /// their share of the clients so; 0 keeps connections for ever.
    #[arg(long, default_value_t = 3600, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(..=604_800))]
    pub connection_age: u64,
}

fn range(text: &str) -> Result<IpNet, String> {
    text.parse()
        .map_err(|_| "it is no address range; write one such as 10.0.0.0/8 or fd00::/8".to_owned())
}

impl EdgeArgs {
    /// How long a connection may be quiet; see [`Self::idle_timeout`](field@Self::idle_timeout).
    pub fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.idle_timeout)
    }

    /// How long a connection may stay; see [`Self::connection_age`](field@Self::connection_age).
    pub fn connection_age(&self) -> Option<Duration> {
        (self.connection_age > 0).then(|| Duration::from_secs(self.connection_age))
    }
}
