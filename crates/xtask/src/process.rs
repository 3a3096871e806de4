//! Runs a child process, shows what it says and keeps it.

use std::io::{self, BufRead, BufReader, PipeReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::progress::Task;

/// How often a silent child is looked at.
const GLANCE: Duration = Duration::from_secs(1);
/// Lines read ahead of the display; more than that waits in the pipe.
const READ_AHEAD: usize = 256;

/// A child that ended.
pub(crate) struct Finished {
    /// What it wrote to stdout and stderr, in order.
    pub(crate) lines: Vec<String>,
    status: ExitStatus,
    what: String,
}

impl Finished {
    /// The lines of a child that succeeded.
    ///
    /// # Errors
    /// When it failed; its output was printed through `task` before.
    pub(crate) fn require_success(self, task: &Task) -> Result<Vec<String>> {
        if !self.status.success() {
            task.print(self.lines.iter().map(String::as_str));
            bail!("`{}` failed: {}", self.what, self.status);
        }
        Ok(self.lines)
    }
}

/// Runs `command` to its end, passing each line to `task`.
///
/// # Errors
/// When it cannot be started. A child that fails is no error here.
pub(crate) fn run(mut command: Command, task: &mut Task) -> Result<Finished> {
    let what = describe(&command);
    let (reader, writer) = io::pipe().context("make a pipe")?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone().context("share the pipe")?)
        .stderr(writer);
    let mut child = command
        .spawn()
        .with_context(|| format!("start `{what}`: is it installed?"))?;
    // It holds our ends of the pipe: the reader would never see the end.
    drop(command);
    let lines = follow(&spawn_reader(reader), &mut child, task)?;
    let status = child.wait()?;
    Ok(Finished {
        lines,
        status,
        what,
    })
}

/// Runs `command` and gives its lines.
///
/// # Errors
/// When it cannot be started or fails; its output was printed then.
pub(crate) fn require(command: Command, task: &mut Task) -> Result<Vec<String>> {
    run(command, task)?.require_success(task)
}

/// What a short command says on stdout: for what it says to be read, not shown.
///
/// # Errors
/// When it cannot be started or fails, with what it said on stderr.
pub(crate) fn output(mut command: Command) -> Result<String> {
    let what = describe(&command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start `{what}`: is it installed?"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{what}` failed: {}: {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn spawn_reader(pipe: PipeReader) -> Receiver<String> {
    let (sender, receiver) = sync_channel(READ_AHEAD);
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
            if sender.send(text).is_err() {
                break;
            }
            line.clear();
        }
    });
    receiver
}

/// Collects lines until the pipe closes, or the child has ended and a process
/// it left behind keeps the pipe open in silence.
fn follow(lines: &Receiver<String>, child: &mut Child, task: &mut Task) -> Result<Vec<String>> {
    let mut all: Vec<String> = Vec::new();
    loop {
        match lines.recv_timeout(GLANCE) {
            Ok(line) => {
                task.line(&line);
                all.push(line);
            }
            Err(RecvTimeoutError::Timeout) if child.try_wait()?.is_none() => {
                task.line(all.last().map_or("", String::as_str));
            }
            Err(_) => return Ok(all),
        }
    }
}

/// The program's name and its arguments, as one would type them.
fn describe(command: &Command) -> String {
    let name = std::path::Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program());
    std::iter::once(name)
        .chain(command.get_args())
        .map(|part| part.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn keeps_both_outputs_in_order() {
        let mut task = Task::start("test");
        let lines = require(shell("echo a; echo b >&2; printf c"), &mut task).unwrap();
        assert_eq!(lines, ["a", "b", "c"]);
    }

    #[test]
    fn a_failing_child_names_itself() {
        let mut task = Task::start("test");
        let error = require(shell("exit 3"), &mut task).unwrap_err();
        assert_eq!(error.to_string(), "`sh -c exit 3` failed: exit status: 3");
    }

    #[test]
    fn only_stdout_is_read_and_stderr_is_the_reason() {
        assert_eq!(output(shell("echo a; echo b >&2")).unwrap(), "a\n");
        let error = output(shell("echo no daemon >&2; exit 1")).unwrap_err();
        assert!(error.to_string().ends_with("exit status: 1: no daemon"));
    }

    #[test]
    fn a_missing_program_is_named() {
        let mut task = Task::start("test");
        let error = require(Command::new("no-such-program"), &mut task).unwrap_err();
        assert!(format!("{error:#}").contains("start `no-such-program`: is it installed?"));
    }

    #[test]
    fn a_process_left_behind_is_not_waited_for() {
        let mut task = Task::start("test");
        let finished = run(shell("sleep 600 & echo $!"), &mut task).unwrap();
        let kill = Command::new("kill").args(&finished.lines).status().unwrap();
        assert!(kill.success(), "it was still running");
    }
}
