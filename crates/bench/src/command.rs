//! Runs the chosen command and prints its result.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use serde::Serialize;
use tokio::runtime::{Builder, Runtime};

use crate::args::{BareArgs, BenchArgs, Command, CompareArgs, HttpArgs, IdleArgs};
use crate::fleet::{Fleet, GRACE, Pace, Plan};
use crate::measure::measure;
use crate::report::LoadReport;
use crate::run_args::Output;
use crate::sessions::args::SessionsArgs;
use crate::signals::Signals;
use crate::{bare, compare, idle, process, sessions};

/// Runs `hexagram bench`, on a runtime of its own. Results go to standard
/// output, progress to standard error. The code is a failure when a call had an
/// error: figures of a failing server are worth nothing.
///
/// # Errors
/// When a server cannot be reached, started or read from /proc, or an argument
/// does not fit; the message says what to do.
pub fn run(args: BenchArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Bare(args) => run_bare(args),
        Command::Http(args) => run_http(&args),
        Command::Compare(args) => run_compare(&args),
        Command::Idle(args) => run_idle(&args),
        Command::Sessions(args) => run_sessions(&args),
    }
}

fn run_bare(args: BareArgs) -> anyhow::Result<ExitCode> {
    runtime(args.threads)?.block_on(bare::run(args))?;
    Ok(ExitCode::SUCCESS)
}

fn run_http(args: &HttpArgs) -> anyhow::Result<ExitCode> {
    let report = runtime(args.target.run.threads)?.block_on(http(args))?;
    print(args.target.run.output, &report)?;
    Ok(exit_code(report.errors))
}

fn run_compare(args: &CompareArgs) -> anyhow::Result<ExitCode> {
    let report = runtime(args.target.run.threads)?.block_on(compare::run(args))?;
    print(args.target.run.output, &report)?;
    Ok(exit_code(report.errors()))
}

fn run_idle(args: &IdleArgs) -> anyhow::Result<ExitCode> {
    let report = runtime(args.target.run.threads)?.block_on(idle::run(args))?;
    print(args.target.run.output, &report)?;
    Ok(ExitCode::SUCCESS)
}

fn run_sessions(args: &SessionsArgs) -> anyhow::Result<ExitCode> {
    let run = async { sessions::run(args, Signals::new()?).await };
    let report = runtime(args.run.threads)?.block_on(run)?;
    print(args.run.output, &report)?;
    Ok(exit_code(report.troubles()))
}

async fn http(args: &HttpArgs) -> anyhow::Result<LoadReport> {
    let target = args.target.target(&args.target.url)?;
    let plan = Plan {
        length: args.seconds,
        pace: args.rate.map_or(Pace::Closed, Pace::Open),
        grace: GRACE,
    };
    let mut fleet = Fleet::open(&target, args.connections as usize).await?;
    let mut measured = measure("load", &mut fleet, plan, &args.pids).await?;
    let resident = match args.pids.as_slice() {
        [] => None,
        pids => Some(process::resident_kib(pids)?),
    };
    if let Err(failure) = fleet.close().await {
        measured.tally.fail(failure);
    }
    Ok(LoadReport::new(&measured, resident))
}

/// One thread needs no work stealing, which is faster where cores are few.
fn runtime(threads: u16) -> io::Result<Runtime> {
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(threads.into()).enable_all().build()
}

fn print(output: Output, report: &(impl Display + Serialize)) -> anyhow::Result<()> {
    let text = match output {
        Output::Text => report.to_string(),
        Output::Json => serde_json::to_string(report)?,
    };
    writeln!(io::stdout(), "{text}").context("cannot write the result to standard output")
}

fn exit_code(errors: u64) -> ExitCode {
    if errors == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
