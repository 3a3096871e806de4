//! `hexagram bench` without the rest of Hexagram:
//! `cargo run --release -p hexagram-bench --example bench -- bench http --url ...`.

use std::process::ExitCode;

use clap::Parser;
use hexagram_bench::BenchArgs;

// The allocator of the real binary, so that figures agree.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Has `bench` as a subcommand, like the real binary: `compare` and `idle`
/// start this program again as `bench bare`.
#[derive(Debug, Parser)]
enum Cli {
    /// Measure a server.
    Bench(BenchArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    let Cli::Bench(args) = Cli::parse();
    hexagram_bench::run(args)
}
