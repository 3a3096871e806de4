//! The smallest process built on this crate, and the one its tests run.
//!
//! `probe run` serves the admin pages until a signal, then drains;
//! `probe config` prints the configuration `run` would have.

use std::error::Error;
use std::fmt::Display;
use std::future::pending;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use hexagram_runtime::admin::{Admin, AdminArgs};
use hexagram_runtime::config::{self, ConfigArgs};
use hexagram_runtime::drain::Drain;
use hexagram_runtime::health::Health;
use hexagram_runtime::metrics::Metrics;
use hexagram_runtime::shutdown::Shutdown;
use hexagram_runtime::telemetry::{self, LogArgs};
use hexagram_runtime::threads::{self, RuntimeArgs};
use tokio_util::sync::CancellationToken;

/// A process with nothing but what every process has
#[derive(Parser)]
struct Probe {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until a signal
    Run(Run),
    /// Print the effective configuration
    Config(Run),
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    runtime: RuntimeArgs,
    /// A value that is never shown
    #[arg(long, hide_env_values = true)]
    secret: Option<String>,
    /// A flag that may be repeated
    #[arg(long = "peer")]
    peers: Vec<SocketAddr>,
    /// Have work that never ends
    #[arg(long)]
    busy: bool,
    /// Block the only runtime thread once running
    #[arg(long)]
    hang: bool,
}

fn main() -> ExitCode {
    let parsed = match config::parse::<Probe>(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(error) => return error.report(),
    };
    let done = match parsed.args.command {
        Command::Config(_) => say(parsed.effective),
        Command::Run(args) => start(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Run) -> Result<(), Box<dyn Error>> {
    telemetry::init(&args.log)?;
    threads::build(&args.runtime)?.block_on(run(args))
}

async fn run(args: &Run) -> Result<(), Box<dyn Error>> {
    let shutdown = Shutdown::install()?;
    let (health, work) = (Health::new(), Drain::new());
    let status = Arc::new(|| serde_json::json!({ "role": "probe" }));
    let admin = Admin::bind(args.admin.addr, health.clone(), Metrics::new(), status).await?;
    let address = admin.local_addr();
    let stop = CancellationToken::new();
    let admin = tokio::spawn(admin.run(stop.clone()));
    if args.busy {
        work.spawn(pending::<()>());
    }
    say(format_args!("ready {address}"))?;
    if args.hang {
        loop {
            std::thread::park();
        }
    }
    shutdown.started().await;
    health.drain();
    say("draining")?;
    let left = work.wait(Duration::from_secs(600)).await;
    stop.cancel();
    admin.await?;
    say(format_args!("drained, {left} left"))
}

/// Standard output is what the tests wait on.
fn say(line: impl Display) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
