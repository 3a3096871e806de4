//! `hexagram check` against real endpoints, and against what is none.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use std::net::SocketAddr;
use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use cluster::everything::Everything;
use cluster::process::Launch;
use cluster::{Cluster, Server, ports, wait};

const LEGACY: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
const MODERN: &str = "2026-07-28";

async fn run(launch: Launch) -> Output {
    let mut command = tokio::process::Command::from(launch.command());
    let output = wait::within(format!("{launch:?}"), command.kill_on_drop(true).output()).await;
    output.unwrap()
}

/// Checks `url`; gives the exit code and what was printed.
async fn check(url: &str, args: &[&str]) -> (i32, String) {
    let launch = Launch::hexagram().args(["check", url]).args(args);
    let output = run(launch).await;
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), text)
}

async fn report(url: &str, args: &[&str]) -> (i32, Value) {
    let mut args = args.to_vec();
    args.extend(["-o", "json"]);
    let (code, text) = check(url, &args).await;
    (code, serde_json::from_str(&text).unwrap())
}

/// The revisions that a report says are spoken.
fn spoken(report: &Value) -> Vec<&str> {
    let rows = report["revisions"].as_array().into_iter().flatten();
    rows.filter(|row| row["spoken"] == true)
        .map(|row| row["revision"].as_str().unwrap())
        .collect()
}

/// The features of an era that were not seen.
fn unseen(era: &Value) -> Vec<&str> {
    let features = era["features"].as_object().unwrap();
    let unseen = features
        .iter()
        .filter(|(_, feature)| feature["seen"] != true);
    unseen.map(|(name, _)| name.as_str()).collect()
}

/// What was sent where a rule was found broken.
fn broken(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().unwrap();
    findings
        .iter()
        .map(|finding| finding["sent"].as_str().unwrap())
        .collect()
}

/// Our own endpoint speaks everything. What it lacks is in CHANGELOG.md, "Known limits".
#[tokio::test]
async fn local_speaks_every_revision() {
    let local = Server::local(&[]).await;
    let (code, report) = report(&local.url(), &["--require", MODERN]).await;
    assert_eq!(code, 0, "{report:#}");
    let all: Vec<_> = LEGACY.into_iter().chain([MODERN]).collect();
    assert_eq!(spoken(&report), all);
    assert_eq!(report["server"]["name"], "hexagram-tour");
    assert_eq!(report["legacy"]["lists"]["tools"]["count"], 2, "{report:#}");
    assert_eq!(report["modern"]["lists"]["tools"]["count"], 2, "{report:#}");
    let lacking = unseen(&report["legacy"]);
    assert!(
        lacking
            .iter()
            .all(|name| ["event_ids", "batching"].contains(name)),
        "{lacking:?}"
    );
    assert!(unseen(&report["modern"]).is_empty(), "{report:#}");
    let broken = broken(&report);
    assert!(
        broken.iter().all(|sent| sent.contains("batch")),
        "{report:#}"
    );
}

#[tokio::test]
async fn an_edge_and_a_worker_speak_as_local_does() {
    let cluster = Cluster::start(1, 1, &["--demo=tour"]).await;
    let (code, found) = report(&cluster.urls()[0], &[]).await;
    assert_eq!((code, spoken(&found).len()), (0, 5), "{found:#}");
    // One session for each legacy revision, and none more.
    assert_eq!(cluster.sessions().await, LEGACY.len() as u64);
}

#[tokio::test]
async fn the_conformance_server_has_every_modern_feature() {
    let local = Server::local(&["--demo=conformance"]).await;
    let (code, report) = report(&local.url(), &[]).await;
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(unseen(&report["modern"]), [""; 0], "{report:#}");
    assert_eq!(report["modern"]["lists"]["resource_templates"]["count"], 1);
    let extensions = &report["modern"]["capabilities"]["extensions"];
    assert!(
        extensions["io.modelcontextprotocol/tasks"].is_object(),
        "{report:#}"
    );
}

/// The reference server is of the legacy era, and breaks two rules.
#[tokio::test]
async fn server_everything_is_legacy() {
    let everything = Everything::start().await;
    let (code, report) = report(&everything.url, &["--require", MODERN]).await;
    assert_eq!(code, 3, "{report:#}");
    assert_eq!(spoken(&report), LEGACY);
    assert_eq!(report["missing"], json!([MODERN]));
    let legacy = &report["legacy"];
    assert_eq!(
        unseen(legacy),
        ["ended_session_refused", "origin_checked"],
        "{report:#}"
    );
    assert_eq!(broken(&report).len(), 2, "{report:#}");
    assert!(legacy["lists"]["tools"]["count"].as_u64().unwrap() > 5);
    // Each session that it opened it has ended.
    let log = everything.process.log();
    let count = |what| log.matches(what).count();
    assert_eq!(count("Session initialized"), LEGACY.len(), "{log}");
    assert_eq!(count("session termination request"), LEGACY.len(), "{log}");
    let (code, text) = check(&everything.url, &[]).await;
    assert_eq!(code, 0, "{text}");
    for line in ["2025-11-25  yes ", "2026-07-28  no ", "wanted  HTTP 404"] {
        assert!(text.contains(line), "{text}");
    }
}

#[tokio::test]
async fn http_sse_is_the_oldest_revision() {
    let everything = Everything::http_sse().await;
    let (code, report) = report(&everything.url, &["--require=2024-11-05"]).await;
    assert_eq!(
        (code, spoken(&report)),
        (0, vec!["2024-11-05"]),
        "{report:#}"
    );
    assert_eq!(report["http_sse"], true);
    assert_eq!(report["legacy"]["transport"], "http_sse");
    assert!(
        report["legacy"]["lists"]["tools"]["count"]
            .as_u64()
            .unwrap()
            > 5
    );
}

#[tokio::test]
async fn nobody_listening_is_exit_code_one() {
    let url = format!("http://{}/mcp", ports::free());
    let (code, text) = check(&url, &[]).await;
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("cannot be reached") && text.contains("is the server running"),
        "{text}"
    );
    let (code, report) = report(&url, &["--require", MODERN]).await;
    assert_eq!((code, &report["problem"]["reachable"]), (1, &json!(false)));
    assert_eq!(report["problem"]["connected"], false);
}

/// Whoever drops what it does not let in looks like a port that takes no more connections.
#[tokio::test]
async fn a_connection_that_nobody_takes_is_no_silence() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut taken = Vec::new();
    while let Ok(stream) = timeout(FULL, TcpStream::connect(address)).await {
        taken.push(stream.unwrap());
    }
    let url = format!("http://{address}/mcp");
    let (code, report) = report(&url, &["--timeout=6"]).await;
    let problem = &report["problem"];
    assert_eq!((code, &problem["connected"]), (1, &json!(false)));
    assert_eq!(problem["cause"], "no connection: nobody took it in time");
    let fix = problem["fix"].as_str().unwrap();
    assert!(
        fix.contains("firewall") && fix.contains("--timeout"),
        "{fix}"
    );
}

/// A port that takes one more connection takes it by then.
const FULL: Duration = Duration::from_millis(500);

/// A server that answers every request with the same bytes, and then closes, or
/// goes on with `more` for ever.
async fn answering(head: &'static str, more: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, head, more));
        }
    });
    address
}

async fn answer(mut stream: TcpStream, head: &str, more: &str) {
    let mut request = vec![0; 1 << 16];
    let read = stream.read(&mut request).await;
    let mut written = match read {
        Ok(read) if read > 0 => stream.write_all(head.as_bytes()).await,
        _ => return,
    };
    while written.is_ok() && !more.is_empty() {
        written = stream.write_all(more.as_bytes()).await;
        tokio::task::yield_now().await;
    }
}

const PAGE: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n<html>hi";
const WRONG_PATH: &str = "HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\nnone";
const REDIRECT: &str =
    "HTTP/1.1 308 Permanent Redirect\r\nlocation: /elsewhere/mcp\r\nconnection: close\r\n\r\n";
const CLOSED: &str = "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer \
                      resource_metadata=\"http://a/b\"\r\nconnection: close\r\n\r\n";
const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

#[tokio::test]
async fn what_is_no_mcp_is_told_with_cause_and_fix() {
    for (head, more, cause, fix) in [
        (PAGE, "", "a web page", "often /mcp"),
        (WRONG_PATH, "", "HTTP 404", "often /mcp"),
        (REDIRECT, "", "/elsewhere/mcp", "check that URL"),
        (CLOSED, "", "resource_metadata", "--header 'Authorization"),
        (STREAM, ": on and on\n\n", "larger than 4 MiB", "path"),
    ] {
        let url = format!("http://{}/mcp", answering(head, more).await);
        let (code, text) = check(&url, &["--timeout=30"]).await;
        assert_eq!(code, 3, "{head}: {text}");
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(cause) && text.contains(fix), "{head}: {text}");
    }
}

/// A connection that is taken and never answered ends with the time given, with TLS or without.
#[tokio::test]
async fn silence_is_bounded() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    for scheme in ["http", "https"] {
        let url = format!("{scheme}://{address}/mcp");
        let (code, text) = check(&url, &["--timeout=2"]).await;
        assert_eq!(code, 1, "{text}");
        assert!(
            text.contains("no answer within") && text.contains("--timeout"),
            "{text}"
        );
        let (_, report) = report(&url, &["--timeout=2"]).await;
        assert_eq!(report["problem"]["connected"], true, "{report:#}");
    }
}

/// As a port answers that wants TLS.
#[tokio::test]
async fn what_is_no_http_took_the_connection() {
    let alert = "\u{15}\u{3}\u{3}\u{0}\u{2}\u{2}\u{16}";
    let url = format!("http://{}/mcp", answering(alert, "").await);
    let (code, report) = report(&url, &[]).await;
    let problem = &report["problem"];
    assert_eq!((code, &problem["connected"]), (1, &json!(true)));
    let fix = problem["fix"].as_str().unwrap();
    assert!(fix.contains("https://"), "{fix}");
}

const ECHO: &str = "HTTP/1.1 403 Forbidden\r\nconnection: close\r\n\r\nno access for hunter2-token";

/// Neither our words nor the server's show what the user gave in confidence.
#[tokio::test]
async fn headers_are_sent_and_never_printed() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.txt");
    let made = run(Launch::hexagram().args(["keys", "api", "alice"])).await;
    std::fs::write(&keys, &made.stdout).unwrap();
    let said = String::from_utf8(made.stderr).unwrap();
    let mut words = said.split_whitespace();
    let key = words.find(|word| word.len() > 30).unwrap();
    let keys = format!("--auth-keys={}", keys.display());
    let local = Server::local(&["--auth=api-keys", &keys]).await;
    let (code, text) = check(&local.url(), &[]).await;
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("--header 'Authorization"), "{text}");
    let header = format!("Authorization: Bearer {key}");
    for last in ["--output=text", "--help"] {
        let launch = Launch::hexagram().args(["check", &local.url(), last]);
        let output = run(launch.variable("HEXAGRAM_HEADER", &header)).await;
        assert!(output.status.success(), "{output:?}");
        assert!(!format!("{output:?}").contains(key), "{last}");
    }

    let url = format!("http://{}/mcp", answering(ECHO, "").await);
    for form in ["table", "json"] {
        let args = ["--header=Authorization: Bearer hunter2-token", "-o", form];
        let (code, text) = check(&url, &args).await;
        assert_eq!(code, 3);
        assert!(text.contains("no access for ***"), "{text}");
    }
}

#[tokio::test]
async fn wrong_arguments_are_usage_errors() {
    let url = "http://127.0.0.1:1/mcp";
    for (args, hint) in [
        (&["127.0.0.1:8080/mcp"][..], "http://127.0.0.1:8080/mcp"),
        (&[url, "--require=2025-01-01"], "2026-07-28"),
        (&[url, "--timeout=never"], "seconds"),
        (&[url, "--header=Bearer hunter2"], "'Name: value'"),
    ] {
        let output = run(Launch::hexagram().args(["check"]).args(args)).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(hint) && !said.contains("hunter2"), "{said}");
    }
}
