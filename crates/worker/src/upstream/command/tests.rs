//! Real children, run by `sh`. A child shows that it and its offspring live by
//! holding a named pipe open: the pipe ends when the last of them does.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::super::tests::{limits, message, next, soon};
use super::super::{ChildLimit, UpstreamLimits};
use super::Launcher;

/// Lives; answers each line with a response to "1".
const ANSWERS: &str =
    r#"echo up >&3; while read -r line; do echo '{"jsonrpc":"2.0","id":"1","result":{}}'; done"#;

fn launcher(line: &str) -> (Launcher, ChildLimit) {
    limited(line, limits())
}

fn limited(line: &str, limits: UpstreamLimits) -> (Launcher, ChildLimit) {
    let children = ChildLimit::new(1);
    (
        Launcher::new(
            "up".parse().expect("a name"),
            line.to_owned(),
            limits,
            children.clone(),
        ),
        children,
    )
}

fn request() -> Bytes {
    Bytes::from(json!({"jsonrpc": "2.0", "id": "1", "method": "tools/list"}).to_string())
}

/// A named pipe that the processes of a test hold open.
struct Lifeline {
    dir: TempDir,
}

/// Fires when all holders of a lifeline are dead.
struct Death(oneshot::Receiver<()>);

impl Lifeline {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let made = std::process::Command::new("mkfifo")
            .arg(dir.path().join("life"))
            .status();
        assert!(made.expect("mkfifo").success());
        Self { dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A line of shell that holds the pipe, as all do that it starts. It must
    /// say "up" there once they run.
    fn held(&self, rest: &str) -> String {
        let pipe = self.path().join("life");
        format!("exec 3>{}; {rest}", pipe.display())
    }

    /// Waits until somebody holds the pipe.
    async fn begins(&self) -> Death {
        let path = self.path().join("life");
        let (up, is_up) = oneshot::channel();
        let (dead, is_dead) = oneshot::channel();
        // A thread of its own: a read that never ends holds up no runtime.
        std::thread::spawn(move || {
            let mut pipe = BufReader::new(std::fs::File::open(path).expect("a pipe"));
            let mut line = String::new();
            pipe.read_line(&mut line).expect("a line");
            let _ = up.send(line);
            pipe.read_to_string(&mut String::new()).expect("the end");
            let _ = dead.send(());
        });
        assert_eq!(soon(is_up).await.expect("it began"), "up\n");
        Death(is_dead)
    }
}

impl Death {
    async fn comes(self) {
        soon(self.0).await.expect("the watch");
    }
}

#[tokio::test]
async fn a_child_answers_and_ends_with_its_session() {
    let life = Lifeline::new();
    let (launcher, children) = launcher(&life.held(ANSWERS));
    let session = launcher.launch().expect("a child");
    let death = life.begins().await;
    assert!(launcher.launch().is_err(), "one child is the limit");
    let mut incoming = session.request("\"1\"", request()).await.expect("open");
    assert_eq!(message(&mut incoming).await["id"], "1");
    drop(session);
    death.comes().await;
    assert!(children.ended(Duration::from_secs(20)).await);
}

#[tokio::test]
async fn last_words_are_heard() {
    // Stops reading, which ends its session; speaks once more when told to end.
    let line = r#"
        trap 'echo "{\"jsonrpc\":\"2.0\",\"id\":\"1\",\"result\":{}}"; exit 0' TERM
        read -r line
        exec 0<&- 2>/dev/null
        echo '{"jsonrpc":"2.0","method":"notifications/message"}'
        while :; do sleep 60; done"#;
    let (launcher, _) = launcher(line);
    let session = launcher.launch().expect("a child");
    let mut standing = session.standing();
    let mut incoming = session.request("\"1\"", request()).await.expect("open");
    assert_eq!(
        message(&mut incoming).await["method"],
        "notifications/message"
    );
    session.send(request()).await.expect("queued");
    assert_eq!(message(&mut incoming).await["id"], "1");
    assert!(next(&mut standing).await.is_none());
    assert!(!session.is_open());
}

#[tokio::test]
async fn a_child_that_never_reads_is_ended() {
    let life = Lifeline::new();
    let (launcher, children) = launcher(&life.held("echo up >&3; exec sleep 60"));
    let session = launcher.launch().expect("a child");
    let death = life.begins().await;
    // More than a pipe holds, so that the write cannot end.
    let flood = Bytes::from(vec![b' '; 1 << 20]);
    session.send(flood).await.expect("queued");
    session.close();
    death.comes().await;
    assert!(children.ended(Duration::from_secs(20)).await);
}

#[tokio::test]
async fn grandchildren_end_with_their_leader() {
    let life = Lifeline::new();
    // Deaf to SIGTERM, and left behind by a leader that ends when spoken to.
    let line = life.held("(trap '' TERM; echo up >&3; exec sleep 60) & read -r line");
    let (launcher, _) = launcher(&line);
    let session = launcher.launch().expect("a child");
    let death = life.begins().await;
    session.send(request()).await.expect("queued");
    death.comes().await;
    let mut standing = session.standing();
    assert!(next(&mut standing).await.is_none(), "its session is over");
}

#[test]
fn nothing_outlives_the_runtime() {
    let build = || tokio::runtime::Runtime::new().expect("a runtime");
    let life = Lifeline::new();
    let first = build();
    let (session, death) = first.block_on(async {
        let (launcher, _) = launcher(&life.held("(echo up >&3; exec sleep 60) & wait"));
        let session = launcher.launch().expect("a child");
        (session, life.begins().await)
    });
    drop(first);
    build().block_on(death.comes());
    drop(session);
}

#[tokio::test]
async fn an_endless_line_ends_the_session() {
    let life = Lifeline::new();
    let limits = UpstreamLimits {
        max_message: 100,
        ..limits()
    };
    let line = life.held("echo up >&3; printf '%0200d'; exec sleep 60");
    let (launcher, _) = limited(&line, limits);
    let session = launcher.launch().expect("a child");
    let death = life.begins().await;
    let mut standing = session.standing();
    assert!(next(&mut standing).await.is_none());
    assert!(!session.is_open());
    death.comes().await;
}

#[tokio::test]
async fn a_command_that_does_not_exist_ends_at_once() {
    let (launcher, children) = launcher("hexagram-no-such-command 2>/dev/null");
    let session = launcher.launch().expect("a shell");
    let mut standing = session.standing();
    assert!(next(&mut standing).await.is_none());
    assert!(children.ended(Duration::from_secs(20)).await);
}
