//! What each role does once its arguments are known.

mod asking;
mod control;
mod edge;
pub(crate) mod keys;
mod link_keys;
mod local;
mod operator;
pub(crate) mod order;
mod overview;
mod reload;
pub(crate) mod status;
mod worker;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use hexagram_runtime::config::{Effective, Parsed};
use hexagram_runtime::health::Health;
use hexagram_runtime::shutdown::Shutdown;
use hexagram_runtime::telemetry::LogFilter;
use hexagram_runtime::watched::WatchedFile;
use hexagram_runtime::{files, telemetry, threads};

use crate::check;
use crate::cli::{Cli, ConfigRole, Role, ServeArgs};
use crate::mistake::exit_code;
use crate::output::print;
use reload::Reload;

/// Runs the role; an error is told once, here.
pub(crate) fn run(parsed: Parsed<Cli>) -> ExitCode {
    let Parsed {
        args,
        effective,
        watched,
    } = parsed;
    let folder = reload::folder(&args.role).map(WatchedFile::new);
    let watched = watched.into_iter().chain(folder).collect();
    let reload = |logs| Reload {
        watched,
        started: effective.clone(),
        logs,
    };
    let done = match args.role {
        Role::Local(args) => serve(&args.serve.clone(), |shutdown, logs| {
            local::run(args, shutdown, reload(logs))
        }),
        Role::Edge(args) => serve(&args.serve.clone(), |shutdown, _| edge::run(args, shutdown)),
        Role::Worker(args) => serve(&args.serve.clone(), |shutdown, logs| {
            worker::run(args, shutdown, reload(logs))
        }),
        Role::Control(args) => serve(&args.serve.clone(), |shutdown, _| {
            control::run(args, shutdown)
        }),
        Role::Operator(args) => serve(&args.serve.clone(), |shutdown, _| {
            operator::run(args, shutdown)
        }),
        Role::Crd => crd(),
        Role::Status(args) => ask(status::run(&args)),
        Role::Move(args) => ask(order::move_shard(&args)),
        Role::Drain(args) => ask(order::drain(&args)),
        Role::Keys(command) => keys::run(&command),
        Role::Config(role) => config(&role, &effective),
        Role::Bench(args) => return report(hexagram_bench::run(args)),
        Role::Check(args) => return report(check::run(&args)),
    };
    report(done.map(|()| ExitCode::SUCCESS))
}

/// Turns the process unready as soon as it is told to end.
fn unready_at(shutdown: &Shutdown, health: Health) {
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        shutdown.started().await;
        health.drain();
    });
}

fn report(done: Result<ExitCode>) -> ExitCode {
    done.unwrap_or_else(|error| {
        // A standard error that is gone must not hide the exit code.
        let _ = writeln!(io::stderr(), "error: {error:#}");
        ExitCode::from(exit_code(&error))
    })
}

fn serve<F: Future<Output = Result<()>>>(
    args: &ServeArgs,
    role: impl FnOnce(Shutdown, LogFilter) -> F,
) -> Result<()> {
    let logs = telemetry::init(&args.log)?;
    files::raise();
    let shutdown = Shutdown::install()?;
    threads::build(&args.runtime)?.block_on(role(shutdown, logs))
}

/// Runs a command that asks another process.
fn ask(command: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(command)
}

/// Prints the configuration, also one that the role would not start with.
fn config(role: &ConfigRole, effective: &Effective) -> Result<()> {
    print(effective)?;
    match role {
        ConfigRole::Local(args) => local::check(args),
        ConfigRole::Edge(args) => edge::check(args),
        ConfigRole::Worker(args) => worker::check(args),
        // Their settings cannot contradict each other, but the files may be unusable.
        ConfigRole::Control(args) => Ok(args.link_tls.check(hexagram_tls::Role::Controller)?),
        ConfigRole::Operator(args) => Ok(args.link_tls.check(hexagram_tls::Role::Controller)?),
    }
}

/// Prints the definitions of our kinds.
fn crd() -> Result<()> {
    print(hexagram_operator::crds()?)
}
