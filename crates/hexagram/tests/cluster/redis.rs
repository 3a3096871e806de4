//! A real Redis, which a test stops, starts and wipes.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::process::{Launch, Process};
use super::{ports, wait};

const ANSWER: Duration = Duration::from_secs(5);

/// A server that keeps nothing on disk.
#[derive(Debug)]
pub(crate) struct Redis {
    pub(crate) process: Process,
    at: SocketAddr,
}

impl Redis {
    /// # Panics
    /// Without `redis-server` on the path: `cargo xtask test --only tools` installs it.
    pub(crate) async fn start() -> Self {
        let at = ports::free();
        let (host, port) = (at.ip().to_string(), at.port().to_string());
        let args = [
            "--bind",
            &host,
            "--port",
            &port,
            "--save",
            "",
            "--appendonly",
            "no",
        ];
        let this = Self {
            process: Process::spawn(Launch::new("redis-server").args(args)),
            at,
        };
        this.ready().await;
        this
    }

    /// The setting that has a worker use it.
    pub(crate) fn argument(&self) -> String {
        format!("--store=redis://{}/0", self.at)
    }

    pub(crate) async fn ready(&self) {
        wait::until("redis", async || {
            (self.ask("PING")? == "+PONG").then_some(())
        })
        .await;
    }

    /// Loses all that it holds.
    pub(crate) fn wipe(&self) {
        assert_eq!(self.ask("FLUSHALL").as_deref(), Some("+OK"));
    }

    /// Waits until the record of every shard is there, and whole.
    pub(crate) async fn whole(&self, shards: usize) {
        wait::until("all records", async || {
            let is_whole = |shard| self.ask(&format!("HGET hexagram:{{{shard}}}:head whole"));
            (0..shards)
                .all(|shard| is_whole(shard).is_some_and(|whole| whole.starts_with('1')))
                .then_some(())
        })
        .await;
    }

    /// Sends an inline command; gives the answer's text, `None` where there is none.
    fn ask(&self, command: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.at).ok()?;
        stream.set_read_timeout(Some(ANSWER)).ok()?;
        stream.write_all(format!("{command}\r\n").as_bytes()).ok()?;
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next()?.ok()?;
        match first.as_bytes().first() {
            // A text follows its length.
            Some(b'$') if first != "$-1" => lines.next()?.ok(),
            _ => Some(first),
        }
    }
}
