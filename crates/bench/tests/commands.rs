//! The commands as a user runs them, with short times, against a bare server
//! inside this process.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::process::ExitCode;
use std::sync::mpsc;

use clap::Parser;
use hexagram_bench::BenchArgs;
use tokio::net::TcpListener;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    bench: BenchArgs,
}

/// Serves on a thread of its own until the test process ends; the URL.
fn bare() -> String {
    let (started, url) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            started.send(format!("http://{address}/mcp")).unwrap();
            hexagram_bench::bare::serve(listener).await;
        });
    });
    url.recv().unwrap()
}

fn run(command: &str) -> anyhow::Result<ExitCode> {
    let words = std::iter::once("bench").chain(command.split_whitespace());
    hexagram_bench::run(Cli::try_parse_from(words)?.bench)
}

fn assert_succeeds(command: &str) {
    let code = run(command).unwrap();
    assert_eq!(
        format!("{code:?}"),
        format!("{:?}", ExitCode::SUCCESS),
        "{command}"
    );
}

#[test]
fn http_reports_both_loops_in_both_eras() {
    let (url, pid) = (bare(), std::process::id());
    let common = format!("http --url {url} --connections 2 --seconds 0.1");
    assert_succeeds(&format!("{common} --era legacy --pid {pid}"));
    assert_succeeds(&format!(
        "{common} --era modern --rate 100 -o json --threads 2"
    ));
}

#[test]
fn compare_and_idle_take_a_reference_that_runs_already() {
    let (url, pid) = (bare(), std::process::id());
    let both = format!("--url {url} --pid {pid} --bare-url {url} --bare-pid {pid} --connections 3");
    assert_succeeds(&format!(
        "compare {both} --rounds 1 --seconds 0.1 --rate 100"
    ));
    assert_succeeds(&format!("idle {both} -o json"));
}

#[test]
fn sessions_of_both_eras_call_even_a_server_without_streams() {
    let url = bare();
    let tool = r#"--tool echo --arguments {"message":"hi"}"#;
    let load = format!("sessions --url {url} --legacy 2 --modern 2 --seconds 0.3 --rate 10");
    assert_succeeds(&format!("{load} {tool}"));
    assert_succeeds(&format!("{load} {tool} --streams 0 -o json --threads 2"));
    let unfit = run(&load).unwrap_err();
    assert!(format!("{unfit:#}").contains("--tool"), "{unfit:#}");
}

#[test]
fn errors_of_the_target_fail_the_command() {
    let url = bare();
    let code = run(&format!(
        "http --url {url} --connections 1 --seconds 0.1 --argument unknown"
    ));
    assert_eq!(
        format!("{:?}", code.unwrap()),
        format!("{:?}", ExitCode::FAILURE)
    );
}

#[test]
fn bad_arguments_are_refused() {
    for bad in [
        "compare",
        "idle --pid x",
        "http --rate 0",
        "http --bare-url x",
        "http --seconds 0",
        "sessions --rate 0",
        "sessions --arguments {}",
    ] {
        assert!(run(bad).is_err(), "{bad}");
    }
    let missing = run("http --url http://127.0.0.1:1/mcp").unwrap_err();
    assert!(missing.to_string().contains("http://127.0.0.1:1/mcp"));
    let foreign = run("http --url https://example.org/mcp").unwrap_err();
    assert!(foreign.to_string().contains("plain HTTP"));
}
