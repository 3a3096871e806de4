//! A real server of a test: Redis, else Valkey, by `PATH`.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use hexagram_core::ShardCount;
use hexagram_store::{RedisSettings, RedisStore};
use redis::{Cmd, FromRedisValue, Pipeline};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio::time::{Instant, timeout};

/// Time for a server to do what it was told.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server on a free port with a folder of its own. It ends with the test.
pub(crate) struct Server {
    child: Child,
    folder: TempDir,
    port: u16,
    options: Vec<String>,
}

impl Server {
    /// Starts one that keeps nothing by itself, with more options as on its command line.
    pub(crate) async fn start(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start_in(folder, options).await
    }

    /// As [`start()`](Self::start), in a folder that has something already.
    pub(crate) async fn start_in(mut folder: TempDir, options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        // Somebody else may take the port that was free just now.
        for _ in 0..5 {
            let port = free_port();
            let child = spawn(folder.path(), port, &options);
            let mut server = Self {
                child,
                folder,
                port,
                options: options.clone(),
            };
            if server.is_up().await {
                return server;
            }
            folder = server.folder;
        }
        panic!("the server does not start with {options:?}");
    }

    /// Starts a replica of another one, which has all that this one holds.
    pub(crate) async fn replica_of(primary: &Self) -> Self {
        Self::replica_by(primary, primary.port).await
    }

    /// As [`replica_of()`](Self::replica_of), by a way to the primary that begins at `port`.
    pub(crate) async fn replica_by(primary: &Self, port: u16) -> Self {
        let port = port.to_string();
        let replica = Self::start(&["--replicaof", "127.0.0.1", &port]).await;
        primary.has_a_replica().await;
        replica
    }

    /// Waits until a replica has all that it holds, and is told of what is written.
    pub(crate) async fn has_a_replica(&self) {
        let mut write = redis::pipe();
        write.set("probe", 1).ignore().del("probe").ignore();
        write.cmd("WAIT").arg(1).arg(100);
        let deadline = Instant::now() + PATIENCE;
        // What was written before the replica came is in its first copy: the next write tells.
        for _ in 0..2 {
            while self.run::<(u64,)>(&write).await == (0,) {
                assert!(Instant::now() < deadline, "no replica comes");
            }
        }
    }

    async fn run<T: FromRedisValue>(&self, commands: &Pipeline) -> T {
        let client = redis::Client::open(self.url()).unwrap();
        let connection = client.get_multiplexed_async_connection().await;
        let answer = commands.query_async(&mut connection.unwrap()).await;
        answer.unwrap()
    }

    /// Its address for a client without a password.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Settings of cluster "test" with 64 shards.
    pub(crate) fn settings(&self) -> RedisSettings {
        RedisSettings {
            url: self.url(),
            ca: None,
            cluster: "test".to_owned(),
            shards: ShardCount::default(),
            wait: 0,
        }
    }

    /// A store that is connected to it.
    pub(crate) async fn store(&self) -> RedisStore {
        RedisStore::connect(&self.settings()).await.unwrap()
    }

    /// Sends a command past the store.
    pub(crate) async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_ask(words).await.unwrap()
    }

    async fn try_ask<T: FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut command = Cmd::new();
        command.arg(words);
        command.query_async(&mut connection).await
    }

    /// Writes all it holds to its disk and gives a copy of that.
    pub(crate) async fn backup(&self) -> Vec<u8> {
        let () = self.ask(&["SAVE"]).await;
        std::fs::read(self.dump()).unwrap()
    }

    /// Puts a backup onto its disk, to be read when it starts.
    pub(crate) fn put_back(&self, backup: &[u8]) {
        std::fs::write(self.dump(), backup).unwrap();
    }

    /// Kills it and waits for its end.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Starts it again at the same address, with what its disk has.
    pub(crate) async fn start_again(&mut self) {
        self.child = spawn(self.folder.path(), self.port, &self.options);
        assert!(self.is_up().await, "the server does not start again");
    }

    /// Stops it from running, without ending it.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it run on.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    fn dump(&self) -> PathBuf {
        self.folder.path().join("dump.rdb")
    }

    /// Waits until it says that it takes connections; false if it has ended instead.
    ///
    /// A connection would not do: at a port that another test's server took in between, that
    /// one answers.
    async fn is_up(&mut self) -> bool {
        let log = BufReader::new(self.child.stdout.take().unwrap());
        let said = timeout(PATIENCE, says_ready(log)).await;
        said.expect("the server neither starts nor ends")
    }
}

async fn says_ready(log: impl AsyncBufRead + Unpin) -> bool {
    let mut lines = log.lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.contains("Ready to accept connections") {
            return true;
        }
    }
    false
}

fn spawn(folder: &Path, port: u16, options: &[String]) -> Child {
    let mut command = Command::new(program());
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.args(["--loglevel", "notice", "--dir"]).arg(folder);
    // The later one counts: a test may give another.
    command.arg("--port").arg(port.to_string()).args(
        options
            .iter()
            .map(|option| option.replace("{port}", &port.to_string())),
    );
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true).spawn().unwrap()
}

fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = ["redis-server", "valkey-server"]
        .into_iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |folder| folder.join(name)));
    places.find(|file| file.is_file()).unwrap_or_else(|| {
        panic!(
            "`redis-server` is missing: run `cargo xtask tools`, or install it \
             (on Debian: `apt-get install redis-server`)"
        )
    })
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
