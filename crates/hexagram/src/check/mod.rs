//! `hexagram check`: which revisions and features of MCP an endpoint speaks,
//! found out by asking. It asks for nothing that changes or reads anything: no
//! tool is called, no resource is read, and every session it opens it ends.

mod args;
mod client;
mod diagnosis;
mod failure;
mod foreign;
mod http_sse;
mod incoming;
mod legacy;
mod lists;
mod merge;
mod modern;
mod notes;
mod progress;
mod reply;
mod report;
mod secrets;
mod session;
mod table;

use std::process::ExitCode;

use anyhow::{Context, Result};
use hexagram_core::ProtocolVersion;

use crate::mistake::EXIT_FAILURE;
use crate::output::print;
pub(crate) use args::CheckArgs;
use args::Output;
use client::Client;
use diagnosis::Tried;
use merge::merge;
use progress::Progress;
use report::Report;
use secrets::Secrets;

/// It answers, but speaks no MCP, or not what is required.
const EXIT_NOT_SPOKEN: u8 = 3;

/// Checks the endpoint and prints what was found.
///
/// # Errors
/// When a header cannot be sent, or nobody takes the result. An endpoint that
/// cannot be reached is a result.
pub(crate) fn run(args: &CheckArgs) -> Result<ExitCode> {
    let headers = args.headers()?;
    let secrets = Secrets::new(&args.url, &headers);
    let has_headers = !headers.is_empty();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(async {
        let client = Client::new(args.url.clone(), headers, args.timeout)
            .context("cannot make an HTTP client")?;
        anyhow::Ok(examine(&client, has_headers, &args.require).await)
    })?;
    let text = match args.output {
        Output::Table => table::draw(&report),
        Output::Json => serde_json::to_string_pretty(&report)? + "\n",
    };
    print(secrets.conceal(&text))?;
    Ok(ExitCode::from(exit_code(&report)))
}

fn exit_code(report: &Report) -> u8 {
    match &report.problem {
        Some(problem) if !problem.reachable => EXIT_FAILURE,
        None if report.is_mcp && report.missing.is_empty() => 0,
        _ => EXIT_NOT_SPOKEN,
    }
}

/// Asks in both eras, and over the oldest transport.
async fn examine(client: &Client, has_headers: bool, required: &[ProtocolVersion]) -> Report {
    let progress = Progress::new();
    let mut report = Report::new(&client.url);
    progress.say("server/discover");
    let discovered = modern::discover(client).await;
    progress.say("initialize");
    let newest = session::initialize(client, ProtocolVersion::LATEST_LEGACY).await;
    let initialized = newest.outcome.clone();
    let tried = Tried {
        url: &client.url,
        has_headers,
        discovered: &discovered,
        initialized: &initialized,
    };
    if diagnosis::is_final(&tried) {
        report.conclude(required);
        report.problem = Some(diagnosis::problem(&tried));
        return report;
    }
    let legacy = legacy::probe(client, newest, &progress).await;
    progress.say("HTTP+SSE");
    let http_sse = http_sse::probe(client).await;
    let modern = modern::probe(client, &discovered, &progress).await;
    merge(&mut report, legacy, http_sse, modern);
    report.conclude(required);
    if !report.is_mcp {
        report.problem = Some(diagnosis::problem(&tried));
    }
    report
}
