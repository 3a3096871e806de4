//! The MCP Inspector's command line: each method is a client of its own.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::cluster::{tools, wait};

/// Lists, a call, a resource and a prompt, in both eras, at each edge.
pub(crate) async fn tour(urls: &[String]) {
    for url in urls {
        for era in ["legacy", "modern"] {
            look_around(url, era).await;
        }
    }
}

async fn look_around(url: &str, era: &str) {
    for (method, member) in [("tools/list", "tools"), ("prompts/list", "prompts")] {
        let list = ask(url, era, method, &[]).await;
        assert_ne!(list[member].as_array().map(Vec::len), Some(0), "{list}");
    }
    let echo = ["--tool-name", "echo", "--tool-arg", "message=hi"];
    let said = ask(url, era, "tools/call", &echo).await;
    assert_eq!(said["content"][0]["text"], "Echo: hi", "{era}: {said}");
    let list = ask(url, era, "resources/list", &[]).await;
    let uri = list["resources"][0]["uri"].as_str().unwrap();
    let read = ask(url, era, "resources/read", &["--uri", uri]).await;
    assert_eq!(read["contents"][0]["uri"], uri, "{era}: {read}");
}

/// What one method gives.
async fn ask(url: &str, era: &str, method: &str, more: &[&str]) -> Value {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(tools::newest_node());
    command
        .arg(tools::inspector())
        .args(["--cli", url, "--transport", "http", "--quiet"])
        .args(["--protocol-era", era, "--method", method])
        .args(more)
        // It keeps files in the user's home.
        .env("HOME", home.path())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = wait::within(format!("{method} ({era})"), command.output()).await;
    let output = output.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{method} ({era}): {errors}");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{method} ({era}): {error}: {errors}"))
}
