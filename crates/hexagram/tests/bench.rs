//! `hexagram bench sessions` against a real cluster.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use serde_json::Value;

use cluster::process::Launch;
use cluster::{Server, wait};

#[tokio::test]
async fn clients_of_both_eras_notice_nothing() {
    let local = Server::local(&[]).await;
    let url = local.url();
    let load = [
        "--legacy=3",
        "--modern=3",
        "--rate=5",
        "--seconds=1",
        "-o",
        "json",
    ];
    let launch = Launch::hexagram()
        .args(["bench", "sessions", "--url", &url])
        .args(load);
    let mut command = tokio::process::Command::from(launch.command());
    let ran = wait::within("the load".to_owned(), command.kill_on_drop(true).output()).await;
    let report: Value = serde_json::from_slice(&ran.unwrap().stdout).unwrap();
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!(report["total"]["answered"], 30, "{report}");
    assert_eq!(report["legacy"]["sessions"]["opened"], 3, "{report}");
    assert_eq!(report["total"]["streams"]["open"], 6, "{report}");
}
