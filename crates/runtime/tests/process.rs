//! What needs a process of its own: environment variables, signals, exit codes.

use std::fs;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Far above what any step takes: it only turns a hang into a failure.
const DEADLINE: Duration = Duration::from_secs(60);

/// The example binary, which `cargo test` builds beside the tests.
fn probe() -> Command {
    let mut path = std::env::current_exe().expect("this test is a file");
    path.pop();
    path.set_file_name("examples");
    let path: PathBuf = path.join("probe");
    assert!(path.exists(), "cargo build --example probe makes {path:?}");
    let mut command = Command::new(path);
    command.env_clear().kill_on_drop(true);
    command
}

async fn output(command: &mut Command) -> Output {
    let output = timeout(DEADLINE, command.output()).await;
    output.expect("in time").expect("the probe starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    admin: String,
}

impl Running {
    async fn start(args: &[&str]) -> Self {
        let mut child = probe()
            .args(["run", "--admin", "127.0.0.1:0", "--threads", "1"])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the probe starts");
        let stdout = child.stdout.take().expect("it is piped");
        let mut running = Self {
            child,
            lines: BufReader::new(stdout).lines(),
            admin: String::new(),
        };
        let ready = running.line().await;
        let address = ready.strip_prefix("ready ").expect("ready comes first");
        address.clone_into(&mut running.admin);
        running
    }

    async fn line(&mut self) -> String {
        let line = timeout(DEADLINE, self.lines.next_line()).await;
        let line = line.expect("a line in time").expect("it is text");
        line.expect("the probe still runs")
    }

    async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("the probe still runs").to_string();
        let status = Command::new("kill").args([name, &pid]).status().await;
        assert!(status.expect("kill is installed").success());
    }

    /// Exit code and standard error.
    async fn end(self) -> (Option<i32>, String) {
        let output = timeout(DEADLINE, self.child.wait_with_output()).await;
        let output = output.expect("it ends in time").expect("it is our child");
        (output.status.code(), text(&output.stderr))
    }

    async fn readyz(&self) -> String {
        let mut stream = TcpStream::connect(&self.admin).await.expect("it listens");
        let request = b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.expect("it reads");
        let mut answer = String::new();
        let read = timeout(DEADLINE, stream.read_to_string(&mut answer)).await;
        read.expect("an answer in time").expect("it is text");
        answer
    }
}

#[tokio::test]
async fn the_first_signal_drains_and_the_process_ends_well() {
    for signal in ["-TERM", "-INT"] {
        let mut probe = Running::start(&[]).await;
        assert!(probe.readyz().await.starts_with("HTTP/1.1 200 "));
        probe.signal(signal).await;
        assert_eq!(probe.line().await, "draining");
        assert_eq!(probe.line().await, "drained, 0 left");
        let (code, stderr) = probe.end().await;
        assert_eq!(code, Some(0));
        assert!(stderr.contains("a second signal aborts"), "{stderr}");
    }
}

#[tokio::test]
async fn a_draining_process_is_live_but_not_ready_and_a_second_signal_aborts_it() {
    for (signal, name, code) in [("-TERM", "SIGTERM", 143), ("-INT", "SIGINT", 130)] {
        let mut probe = Running::start(&["--busy"]).await;
        probe.signal("-TERM").await;
        assert_eq!(probe.line().await, "draining");
        let answer = probe.readyz().await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("\"draining\":true"), "{answer}");
        probe.signal(signal).await;
        let (ended, stderr) = probe.end().await;
        assert_eq!(ended, Some(code));
        assert!(
            stderr.contains(&format!("second signal ({name})")),
            "{stderr}"
        );
    }
}

#[tokio::test]
async fn a_blocked_runtime_can_be_aborted() {
    let mut probe = Running::start(&["--hang"]).await;
    probe.signal("-TERM").await;
    let stderr = probe.child.stderr.as_mut().expect("it is piped");
    let mut log = BufReader::new(stderr).lines();
    loop {
        let line = timeout(DEADLINE, log.next_line())
            .await
            .expect("a line in time");
        let line = line.expect("it is text").expect("the probe still runs");
        if line.contains("a second signal aborts") {
            break;
        }
    }
    probe.signal("-TERM").await;
    assert_eq!(probe.end().await.0, Some(143));
}

#[tokio::test]
async fn a_taken_port_names_the_flag() {
    let first = Running::start(&[]).await;
    let second = output(probe().args(["run", "--admin", &first.admin])).await;
    assert!(!second.status.success());
    let stderr = text(&second.stderr);
    assert!(
        stderr.contains(&first.admin) && stderr.contains("--admin"),
        "{stderr}"
    );
}

#[tokio::test]
async fn a_variable_wins_over_the_file_and_a_flag_over_the_variable() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("probe.toml");
    fs::write(&file, "threads = 2\nlog = \"warn\"\nsecret = \"a\"\n").expect("it is writable");
    let config = output(
        probe()
            .args(["config", "--log-format", "json"])
            .env("HEXAGRAM_CONFIG", &file)
            .env("HEXAGRAM_THREADS", "3")
            .env("HEXAGRAM_LOG_FORMAT", "text")
            .env("HEXAGRAM_BUSY", "true")
            .env("HEXAGRAM_SECRET", "hush"),
    )
    .await;
    assert_eq!(text(&config.stderr), "");
    let expected = format!(
        "admin = \"127.0.0.1:9090\" # default\n\
         busy = true # variable HEXAGRAM_BUSY\n\
         hang = false # default\n\
         log = \"warn\" # {}:2\n\
         log-format = \"json\" # flag\n\
         # peer is unset\n\
         # secret is secret, set by variable HEXAGRAM_SECRET\n\
         threads = 3 # variable HEXAGRAM_THREADS\n\n",
        file.display()
    );
    assert_eq!(text(&config.stdout), expected);
}

#[tokio::test]
async fn a_variable_of_a_repeatable_flag_holds_one_value_a_line() {
    let config = |hosts: &str| {
        let mut probe = probe();
        probe.arg("config").env("HEXAGRAM_PEER", hosts);
        probe
    };
    let two = output(&mut config("127.0.0.1:1\n127.0.0.1:2")).await;
    let line = "peer = [\"127.0.0.1:1\", \"127.0.0.1:2\"] # variable HEXAGRAM_PEER\n";
    assert!(text(&two.stdout).contains(line), "{two:?}");
    for (wrong, reason) in [
        ("127.0.0.1:1\nlocalhost:2", "names are not looked up"),
        ("127.0.0.1:1\n", "a line is empty"),
    ] {
        let wrong = output(&mut config(wrong)).await;
        let stderr = text(&wrong.stderr);
        assert_eq!(wrong.status.code(), Some(78), "{stderr}");
        assert!(
            stderr.contains("HEXAGRAM_PEER") && stderr.contains(reason),
            "{stderr}"
        );
    }
}

#[tokio::test]
async fn errors_name_their_source_and_choose_the_exit_code() {
    let variable = output(probe().arg("config").env("HEXAGRAM_THREADS", "many")).await;
    assert_eq!(variable.status.code(), Some(78));
    assert_eq!(
        text(&variable.stderr),
        "error: wrong value in the environment variable HEXAGRAM_THREADS: \
         invalid digit found in string; write a whole number in digits\n"
    );
    let flag = output(probe().args(["config", "--threads", "many"])).await;
    assert_eq!(flag.status.code(), Some(2));
    assert_eq!(
        text(&flag.stderr),
        "error: invalid value 'many' for '--threads <N>': invalid digit found in string; \
         write a whole number in digits\n\nFor more information, try '--help'.\n"
    );
    for args in [
        ["--config", "/nowhere.toml", "config"],
        ["config", "--config", "/nowhere.toml"],
    ] {
        let file = output(probe().args(args).env("HEXAGRAM_CONFIG", "/other.toml")).await;
        assert_eq!(file.status.code(), Some(78));
        let stderr = text(&file.stderr);
        let cause = "error: cannot read the config file /nowhere.toml";
        assert!(stderr.starts_with(cause), "{stderr}");
    }
}
