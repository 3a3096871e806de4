//! One process in a folder of its own: its log is shown when the test fails,
//! and it ends with the test.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{tools, wait};

/// On drop, a process may take this long after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of the log of a failed test, this many lines are shown.
const TAIL: usize = 60;

/// What to start.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    program: PathBuf,
    args: Vec<OsString>,
    folder: Option<PathBuf>,
    variables: Vec<(String, OsString)>,
}

impl Launch {
    pub(crate) fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            folder: None,
            variables: Vec::new(),
        }
    }

    /// The binary under test.
    pub(crate) fn hexagram() -> Self {
        Self::new(tools::hexagram())
    }

    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Another working folder than a fresh one.
    pub(crate) fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// The command, without the settings that the test's caller may have.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HEXAGRAM_") {
                command.env_remove(name);
            }
        }
        command
            .args(&self.args)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command
    }
}

/// A running process.
#[derive(Debug)]
pub(crate) struct Process {
    launch: Launch,
    child: Child,
    folder: TempDir,
    ended: Option<ExitStatus>,
    /// Where in the log each life begins.
    lives: Vec<usize>,
}

impl Process {
    pub(crate) fn spawn(launch: Launch) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let launch = match launch.folder {
            Some(_) => launch,
            None => launch.folder(folder.path()),
        };
        let child = spawn(&launch, &log_file(&folder));
        Self {
            launch,
            child,
            folder,
            ended: None,
            lives: vec![0],
        }
    }

    /// Starts the same again, after its end.
    pub(crate) fn respawn(&mut self) {
        assert!(self.poll().is_some(), "{self:?} still runs");
        self.lives.push(self.log().len());
        self.child = spawn(&self.launch, &log_file(&self.folder));
        self.ended = None;
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status, once it ended.
    pub(crate) fn poll(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
        }
        self.ended
    }

    /// Sends a signal to this process alone.
    pub(crate) fn signal(&self, signal: Signal) {
        assert!(self.ended.is_none(), "signal to a process that ended");
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn wait(&mut self) -> ExitStatus {
        let pid = self.pid();
        wait::until(format!("end of process {pid}"), async || self.poll()).await
    }

    /// Asks it to end and waits until it did.
    pub(crate) async fn end(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait().await
    }

    /// Ends it as a crash would.
    pub(crate) async fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait().await;
    }

    /// What it printed so far.
    pub(crate) fn log(&self) -> String {
        let bytes = std::fs::read(log_file(&self.folder)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// In which of its lives it is, from 1.
    pub(crate) fn life(&self) -> u64 {
        self.lives.len() as u64
    }

    /// What it printed in each of its lives.
    pub(crate) fn lives(&self) -> Vec<String> {
        let log = self.log();
        let ends = self.lives[1..].iter().copied().chain([log.len()]);
        let lives = self.lives.iter().zip(ends);
        lives
            .map(|(begin, end)| log.get(*begin..end).unwrap_or_default().to_owned())
            .collect()
    }

    fn show_log(&self) {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL)..];
        let Launch { program, args, .. } = &self.launch;
        eprintln!("--- {} {args:?}\n{}", program.display(), tail.join("\n"));
    }

    fn end_now(&mut self) {
        self.signal(Signal::TERM);
        let pid = Pid::from_child(&self.child);
        let (ended, watch) = sync_channel::<()>(0);
        let killer = std::thread::spawn(move || {
            if watch.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                // Not reaped yet, so the id is still its own.
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        let _ = self.child.wait();
        drop(ended);
        let _ = killer.join();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.poll().is_none() {
            self.end_now();
        }
        if std::thread::panicking() {
            self.show_log();
        } else {
            // Nothing that comes from outside may make Hexagram panic.
            assert!(!self.log().contains("panicked at"), "{}", self.log());
        }
    }
}

fn log_file(folder: &TempDir) -> PathBuf {
    folder.path().join("log")
}

fn spawn(launch: &Launch, log: &Path) -> Child {
    let log = File::options().create(true).append(true).open(log).unwrap();
    let mut command = launch.command();
    command.stdout(log.try_clone().unwrap()).stderr(log);
    command
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", launch.program.display()))
}
