//! How many threads run a process's tasks.

use std::io;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Runtime};

/// The size of the tokio runtime.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct RuntimeArgs {
    /// Threads that run tasks [default: one up to two CPUs, else one a CPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

/// Builds the runtime of the process, all drivers enabled.
///
/// A single thread is the caller's own: tasks run while it is in `block_on`.
///
/// # Errors
/// When the operating system refuses a thread or a poller.
pub fn build(args: &RuntimeArgs) -> io::Result<Runtime> {
    let threads = args.threads.map_or_else(default_threads, usize::from);
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder
        .worker_threads(threads)
        .thread_name("runtime")
        .enable_all()
        .build()
}

/// The CPU limit is the smaller of affinity mask and cgroup quota (v1 and v2,
/// rounded down): the standard library reads them all.
fn default_threads() -> usize {
    threads_for(available_parallelism().map_or(1, usize::from))
}

/// On two CPUs a second runtime thread costs a fifth of the throughput
/// (measured): the other CPU belongs to the kernel's share of the work.
fn threads_for(cpus: usize) -> usize {
    if cpus <= 2 { 1 } else { cpus }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::RuntimeFlavor;

    use super::*;

    #[test]
    fn one_thread_up_to_two_cpus_then_one_a_cpu() {
        assert_eq!([1, 2, 3, 16].map(threads_for), [1, 1, 3, 16]);
    }

    #[test]
    fn builds_as_many_threads_as_asked() {
        for (threads, flavor) in [
            (1, RuntimeFlavor::CurrentThread),
            (3, RuntimeFlavor::MultiThread),
        ] {
            let args = RuntimeArgs {
                threads: Some(threads),
            };
            let runtime = build(&args).expect("threads are available");
            assert_eq!(runtime.metrics().num_workers(), usize::from(threads));
            assert_eq!(runtime.handle().runtime_flavor(), flavor);
        }
    }
}
