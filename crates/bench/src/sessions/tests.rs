//! Loads against a server to which things are done meanwhile.

mod server;

use std::time::Duration;

use clap::Parser;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use server::{Close, Mode, Server};

/// No test takes longer.
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Cli {
    #[command(flatten)]
    args: SessionsArgs,
}

fn args(server: &Server, options: &str) -> SessionsArgs {
    let url = format!("--url={}", server.url());
    let words = ["sessions", &url];
    let words = words.into_iter().chain(options.split_whitespace());
    Cli::try_parse_from(words).expect("options").args
}

/// A load that a test may end.
struct Running {
    signals: mpsc::Sender<()>,
    run: JoinHandle<anyhow::Result<SessionsReport>>,
}

impl Running {
    /// Five clients of each era that call ten times a second.
    fn start(server: &Server, options: &str) -> Self {
        let args = args(
            server,
            &format!("--legacy 5 --modern 5 --rate 10 {options}"),
        );
        let (signals, receiver) = mpsc::channel(2);
        let signals_of_test = Signals::of(receiver);
        let run = tokio::spawn(async move { run(&args, signals_of_test).await });
        Self { signals, run }
    }

    async fn signal(&self) {
        self.signals.send(()).await.expect("a load that runs");
    }

    async fn report(self) -> Seen {
        let ended = timeout(DEADLINE, self.run).await.expect("in time");
        let report = ended.expect("no panic").expect("a report");
        Seen {
            text: report.to_string(),
            json: serde_json::to_value(&report).expect("JSON"),
            troubles: report.troubles(),
        }
    }

    async fn error(self) -> String {
        let ended = timeout(DEADLINE, self.run).await.expect("in time");
        format!("{:#}", ended.expect("no panic").expect_err("an error"))
    }
}

/// A report as users see it.
#[derive(Debug)]
struct Seen {
    text: String,
    json: serde_json::Value,
    troubles: u64,
}

impl Seen {
    fn count(&self, path: &str) -> u64 {
        let value = self.json.pointer(path).unwrap_or_else(|| panic!("{path}"));
        value.as_f64().unwrap_or_else(|| panic!("{path}: {value}")) as u64
    }

    fn assert(&self, counts: &[(&str, u64)]) {
        for (path, count) in counts {
            assert_eq!(self.count(path), *count, "{path} in\n{}", self.text);
        }
    }
}

#[tokio::test]
async fn nobody_notices_a_server_that_serves() {
    let server = Server::start(Mode::Answer).await;
    let seen = Running::start(&server, "--seconds 1 --streams 3")
        .report()
        .await;
    assert_eq!(seen.json["ok"], true, "{}", seen.text);
    assert_eq!(seen.json["call"], "tool now");
    seen.assert(&[
        ("/total/sent", 100),
        ("/total/answered", 100),
        ("/legacy/answered", 50),
        ("/total/retried", 0),
        ("/legacy/sessions/opened", 5),
        ("/modern/sessions/opened", 0),
        ("/legacy/streams/open", 3),
        ("/modern/streams/open", 3),
        ("/total/sessions/not_deleted", 0),
    ]);
    assert_eq!(server.sessions(), 0, "all were deleted");
    assert_eq!(seen.troubles, 0);
    assert!(
        seen.text.contains("OK: every call was answered"),
        "{}",
        seen.text
    );
}

#[tokio::test]
async fn connections_that_are_cut_cost_streams_and_no_call() {
    let mut server = Server::start(Mode::Answer).await;
    let running = Running::start(&server, "--seconds 3");
    server.called(30).await;
    server.cut().await;
    let seen = running.report().await;
    seen.assert(&[
        ("/total/answered", 300),
        ("/total/streams/broken", 10),
        ("/total/streams/reopened", 10),
        ("/total/streams/open", 10),
    ]);
    assert!(
        seen.text.contains("NOTICED: 10 streams broken"),
        "{}",
        seen.text
    );
}

#[tokio::test]
async fn calls_fail_while_the_server_is_away_and_the_timeline_shows_when() {
    let mut server = Server::start(Mode::Answer).await;
    let running = Running::start(&server, "--seconds 4");
    server.called(150).await;
    server.stop().await;
    sleep(Duration::from_millis(500)).await;
    server.start_again().await;
    let seen = running.report().await;
    let (answered, failed) = (seen.count("/total/answered"), seen.count("/total/failed"));
    assert_eq!(answered + failed, 400, "{}", seen.text);
    assert!(failed >= 10 && answered >= 150, "{}", seen.text);
    let outage = seen.count("/outage_ms");
    assert!((400..3500).contains(&outage), "{outage} ms");
    let timeline = seen.json["timeline"].as_array().expect("seconds");
    let failed_in = |second: &serde_json::Value| second["failed"].as_u64().expect("a count");
    assert_eq!(failed_in(&timeline[0]), 0);
    assert_eq!(timeline.iter().map(failed_in).sum::<u64>(), failed);
    let said = seen.json["total"]["failed_by"][0]["failure"].to_string();
    assert!(said.contains("cannot connect"), "{said}");
}

#[tokio::test]
async fn a_session_that_is_gone_is_counted_once_and_replaced() {
    let server = Server::start(Mode::Answer).await;
    let running = Running::start(&server, "--seconds 2");
    server.called(30).await;
    server.forget_sessions();
    // The streams ask too: a session is lost once, whoever hears of it first.
    server.close_streams(Close::Resumably);
    let seen = running.report().await;
    seen.assert(&[
        ("/legacy/sessions/lost", 5),
        ("/legacy/sessions/opened", 10),
        ("/legacy/streams/open", 5),
        ("/modern/answered", 100),
        ("/total/failed", 0),
    ]);
    let (answered, refused) = (
        seen.count("/legacy/answered"),
        seen.count("/legacy/refused"),
    );
    assert_eq!(answered + refused, 100, "{}", seen.text);
    assert!(seen.text.contains("5 sessions lost"), "{}", seen.text);
}

#[tokio::test]
async fn streams_that_end_in_good_order_are_no_trouble() {
    let server = Server::start(Mode::Answer).await;
    let running = Running::start(&server, "--seconds 2");
    server.called(30).await;
    server.close_streams(Close::Resumably);
    let seen = running.report().await;
    assert_eq!(seen.json["ok"], true, "{}", seen.text);
    seen.assert(&[
        ("/legacy/streams/ended", 5),
        ("/modern/streams/ended", 5),
        ("/total/streams/reopened", 10),
        ("/total/streams/open", 10),
    ]);
    assert_eq!(server.resumed(), 5, "by their event ids");
    assert!(seen.count("/legacy/streams/longest_gap_ms") < 1000);
}

#[tokio::test]
async fn streams_that_are_cut_are_broken() {
    let server = Server::start(Mode::Answer).await;
    let running = Running::start(&server, "--seconds 2.5");
    server.called(30).await;
    server.close_streams(Close::Abruptly);
    let seen = running.report().await;
    seen.assert(&[
        ("/total/streams/broken", 10),
        ("/total/streams/reopened", 10),
        ("/total/answered", 250),
    ]);
    assert_eq!(seen.troubles, 10);
}

#[tokio::test]
async fn refusals_are_told_by_reason_and_an_unknown_outcome_apart() {
    let server = Server::start(Mode::Answer).await;
    let running = Running::start(&server, "--seconds 2");
    server.called(30).await;
    server.set(Mode::Refuse);
    server.called(30).await;
    server.set(Mode::Unsure);
    server.called(30).await;
    server.set(Mode::Answer);
    let seen = running.report().await;
    let refusals = seen.json["total"]["refused_by"].as_array().expect("kinds");
    assert_eq!(refusals.len(), 1, "{}", seen.text);
    assert_eq!(refusals[0]["status"], 503);
    assert_eq!(refusals[0]["code"], -32011);
    assert_eq!(refusals[0]["reason"], "draining");
    assert!(seen.count("/total/refused") >= 25 && seen.count("/total/unknown") >= 25);
    assert!(
        seen.text
            .contains("x HTTP 503, JSON-RPC -32011 draining: no"),
        "{}",
        seen.text
    );
}

#[tokio::test]
async fn a_call_is_followed_to_where_the_server_let_go_of_it() {
    let server = Server::start(Mode::Answer).await;
    let running = Running::start(&server, "--modern 0 --seconds 2");
    server.called(20).await;
    server.set(Mode::LetGo);
    let seen = running.report().await;
    assert_eq!(seen.json["ok"], true, "{}", seen.text);
    seen.assert(&[("/legacy/answered", 100), ("/legacy/retried", 0)]);
    assert!(seen.count("/legacy/resumed") >= 50, "{}", seen.text);
}

#[tokio::test]
async fn a_signal_ends_the_sending_and_another_the_waiting() {
    let server = Server::start(Mode::Answer).await;
    let running = Running::start(&server, "--seconds 600");
    server.called(30).await;
    server.set(Mode::Mute);
    // The trial's two calls come before the clients' ten.
    server.called(10).await;
    let begin = Instant::now();
    running.signal().await;
    running.signal().await;
    let seen = running.report().await;
    assert!(
        begin.elapsed() < Duration::from_secs(20),
        "no wait for answers"
    );
    seen.assert(&[("/total/lost", 10), ("/total/failed", 0)]);
    assert!(
        seen.text.contains("NOTICED: 10 calls not answered"),
        "{}",
        seen.text
    );
}

#[tokio::test]
async fn what_is_under_way_at_a_signal_is_waited_for() {
    let server = Server::start(Mode::Answer).await;
    let running = Running::start(&server, "--seconds 600");
    server.called(30).await;
    running.signal().await;
    let seen = running.report().await;
    assert_eq!(seen.json["ok"], true, "{}", seen.text);
    assert!(seen.json["seconds"].as_f64().expect("a time") < 60.0);
    assert_eq!(server.sessions(), 0, "all were deleted");
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_used_is_told_before_the_load() {
    for (mode, parts) in [
        (Mode::Locked, ["HTTP 401", "--header"]),
        (Mode::Web, ["no JSON-RPC answer", "an MCP endpoint"]),
        (Mode::Old, ["modern (2026-07-28)", "--modern 0"]),
        (Mode::ToolFails, ["the tool's result is an error", "--tool"]),
        (Mode::Refuse, ["draining", "cannot call tool now"]),
    ] {
        let server = Server::start(mode).await;
        let said = Running::start(&server, "").error().await;
        for part in parts {
            assert!(said.contains(part), "{mode:?}: {part} in {said}");
        }
        assert!(said.contains(&server.url()), "{said}");
    }
    let mut gone = Server::start(Mode::Answer).await;
    gone.stop().await;
    let said = Running::start(&gone, "").error().await;
    assert!(
        said.contains("cannot connect") && said.contains("--url"),
        "{said}"
    );
    let nobody = Running::start(&gone, "--legacy 0 --modern 0").error().await;
    assert!(nobody.contains("--legacy or --modern"), "{nobody}");
}

#[tokio::test]
async fn streams_that_are_not_offered_are_no_trouble() {
    let server = Server::start(Mode::Old).await;
    let seen = Running::start(&server, "--modern 0 --seconds 0.5")
        .report()
        .await;
    assert_eq!(seen.json["ok"], true, "{}", seen.text);
    seen.assert(&[
        ("/legacy/streams/not_offered", 5),
        ("/legacy/streams/opened", 0),
    ]);
}
