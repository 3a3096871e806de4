//! Hexagram processes in the shapes that the suite is run against.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use super::balancer::Balancer;
use super::mover::Mover;
use super::process::{Process, hexagram};

const EDGES: usize = 2;
const WORKERS: usize = 3;

/// Where the server that the suite is about runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Shape {
    /// In each of three workers, behind two edges.
    Workers,
    /// On its own; three workers reach it over HTTP, behind two edges.
    Upstream,
    /// As `upstream`, while a random shard moves every 100 ms.
    Moving,
}

/// A running cluster; its processes end when it is dropped.
pub(super) struct Cluster {
    processes: Vec<Process>,
    balancer: Balancer,
    mover: Option<Mover>,
}

impl Cluster {
    /// Starts `shape`, logging into `folder`, and waits until all of it is ready.
    pub(super) async fn start(binary: &Path, shape: Shape, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        let mut launcher = Launcher {
            binary,
            folder,
            keys: key_ring(binary, folder).await?,
            ports: Ports::new(),
            processes: Vec::new(),
        };
        let server = match shape {
            Shape::Workers => vec![DEMO.into(), TASKS.into()],
            Shape::Upstream | Shape::Moving => {
                let fixture = url(launcher.local().await?);
                vec![format!("--upstream=fixture={fixture}")]
            }
        };
        let (members, control) = match shape {
            Shape::Moving => launcher
                .control()
                .map(|(url, admin)| (vec![url], Some(admin)))?,
            Shape::Workers | Shape::Upstream => (launcher.peers()?, None),
        };
        let edges = launcher.cluster(&server, members)?;
        for process in &mut launcher.processes {
            process.ready().await?;
        }
        let mover = match control {
            Some(admin) => Some(Mover::start(binary.to_owned(), admin, WORKERS).await?),
            None => None,
        };
        Ok(Self {
            processes: launcher.processes,
            balancer: Balancer::start(edges).await?,
            mover,
        })
    }

    /// The endpoint in front of the edges.
    pub(super) fn url(&self) -> String {
        url(self.balancer.address())
    }

    /// Ends all processes; gives how many shards have moved, where they do.
    ///
    /// # Errors
    /// When a process had ended by itself, or panicked, or a shard could not move.
    pub(super) async fn end(self) -> Result<Option<u64>> {
        let moves = match self.mover {
            Some(mover) => Some(mover.end().await?),
            None => None,
        };
        for process in self.processes {
            process.end().await?;
        }
        Ok(moves)
    }
}

const DEMO: &str = "--demo=conformance";
/// The suite's tasks outlive no worker, so the memory of one will do.
const TASKS: &str = "--tasks-in-memory";
/// The balancer is a proxy as any other: one connection may carry many modern
/// clients, so each of their requests meets another worker.
const BEHIND_PROXY: &str = "--trusted-proxies=127.0.0.1/32";

fn url(address: SocketAddr) -> String {
    format!("http://{address}/mcp")
}

/// Writes a key ring that all processes share.
async fn key_ring(binary: &Path, folder: &Path) -> Result<PathBuf> {
    let mut command = hexagram(binary);
    let made = command.args(["keys", "ring"]).output().await;
    let made = made.with_context(|| format!("start {}", binary.display()))?;
    ensure!(made.status.success(), "`hexagram keys ring` failed");
    let file = folder.join("ring.txt");
    fs::write(&file, made.stdout).with_context(|| format!("write {}", file.display()))?;
    Ok(file)
}

/// Starts processes one after the other.
struct Launcher<'a> {
    binary: &'a Path,
    folder: &'a Path,
    keys: PathBuf,
    ports: Ports,
    processes: Vec<Process>,
}

impl Launcher<'_> {
    /// A whole cluster in one process, as the server; gives its address. It listens: a worker
    /// that asks it too early remembers for a while that it was not there.
    async fn local(&mut self) -> Result<SocketAddr> {
        let listen = self.ports.free()?;
        let args = ["local".into(), DEMO.into(), format!("--listen={listen}")];
        self.start("local", args.map(OsString::from))?;
        for local in &mut self.processes {
            local.ready().await?;
        }
        Ok(listen)
    }

    /// A controller; gives the setting that has others follow it, and its admin address.
    fn control(&mut self) -> Result<(String, SocketAddr)> {
        let (listen, admin) = (self.ports.free()?, self.ports.free()?);
        let args = [
            "control".to_owned(),
            format!("--control-listen={listen}"),
            format!("--workers-expected={WORKERS}"),
        ];
        self.start_at("control", admin, args.map(OsString::from))?;
        Ok((format!("--control=http://{listen}"), admin))
    }

    /// The settings of a fixed map.
    fn peers(&mut self) -> Result<Vec<String>> {
        let peer = |n| Ok(format!("--peer=worker-{n}={}", self.ports.free()?));
        (0..WORKERS).map(peer).collect()
    }

    /// Workers that serve `server`, and edges, all of them `members`; gives the edges'
    /// addresses.
    fn cluster(&mut self, server: &[String], members: Vec<String>) -> Result<Vec<SocketAddr>> {
        let mut common = vec![format!("--keys={}", self.keys.display())];
        common.extend(members);
        for n in 0..WORKERS {
            self.role("worker", n, &common, server)?;
        }
        let listen = |_| self.ports.free();
        let edges = (0..EDGES).map(listen).collect::<Result<Vec<_>>>()?;
        for (n, listen) in edges.iter().enumerate() {
            let listen = format!("--listen={listen}");
            self.role("edge", n, &common, &[BEHIND_PROXY.to_owned(), listen])?;
        }
        Ok(edges)
    }

    fn role(&mut self, role: &str, n: usize, common: &[String], own: &[String]) -> Result<()> {
        let name = format!("{role}-{n}");
        let named = format!("--name={name}");
        let own = [role, &named]
            .into_iter()
            .chain(own.iter().map(String::as_str));
        let args = own.chain(common.iter().map(String::as_str));
        self.start(&name, args.map(OsString::from))
    }

    fn start(&mut self, name: &str, args: impl IntoIterator<Item = OsString>) -> Result<()> {
        let admin = self.ports.free()?;
        self.start_at(name, admin, args)
    }

    fn start_at(
        &mut self,
        name: &str,
        admin: SocketAddr,
        args: impl IntoIterator<Item = OsString>,
    ) -> Result<()> {
        let process = Process::start(self.binary, self.folder, name, admin, args)?;
        self.processes.push(process);
        Ok(())
    }
}

/// Ports below the range that the system takes ports of outgoing connections
/// from: nobody else gets one between our look and its use.
struct Ports(std::ops::Range<u16>);

impl Ports {
    fn new() -> Self {
        // Two runners at the same time start at different places.
        let start = 12_000 + (std::process::id() % 80) as u16 * 100;
        Self(start..20_000)
    }

    /// An address that nobody listens on, given out once only.
    fn free(&mut self) -> Result<SocketAddr> {
        let addresses = self.0.by_ref();
        addresses
            .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
            .find(|address| TcpListener::bind(address).is_ok())
            .context("no free port below 20000: end what listens there")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_out_once() {
        let mut ports = Ports::new();
        let taken = TcpListener::bind(ports.free().unwrap()).unwrap();
        let again = Ports::new().free().unwrap();
        assert_ne!(again, taken.local_addr().unwrap());
        assert_ne!(ports.free().unwrap(), ports.free().unwrap());
    }
}
