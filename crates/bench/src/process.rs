//! CPU time and memory of server processes, read from /proc.

use std::fs;
use std::time::Duration;

use anyhow::Context;

/// Clock ticks a second in /proc (`USER_HZ`), 100 on every Linux this runs on.
const TICKS_PER_SECOND: u64 = 100;
/// Fields of /proc/PID/stat counted from after the command: user and system time.
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;

/// User plus system time of `pids` together, in steps of 10 ms.
pub(crate) fn cpu_time(pids: &[u32]) -> anyhow::Result<Duration> {
    sum(pids, "stat", ticks).map(|ticks| Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// Resident memory of `pids` together, in KiB.
pub(crate) fn resident_kib(pids: &[u32]) -> anyhow::Result<u64> {
    sum(pids, "status", resident)
}

fn sum(pids: &[u32], file: &str, parse: fn(&str) -> Option<u64>) -> anyhow::Result<u64> {
    pids.iter()
        .map(|pid| {
            let path = format!("/proc/{pid}/{file}");
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {path}: check --pid {pid}"))?;
            parse(&text).with_context(|| format!("{path} has no figures: did {pid} end?"))
        })
        .sum()
}

/// The command (in parentheses) may itself contain spaces and parentheses.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<_> = fields.split_whitespace().collect();
    let user: u64 = fields.get(USER_TICKS)?.parse().ok()?;
    let system: u64 = fields.get(SYSTEM_TICKS)?.parse().ok()?;
    Some(user + system)
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_whatever_the_command_is_called() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 90 0 0 0 150 25 0 0 20 0 1 0 9";
        assert_eq!(ticks(stat), Some(175));
        assert_eq!(ticks("42 (short) S 1"), None);
    }

    #[test]
    fn resident_memory_is_found_by_name() {
        assert_eq!(resident("VmPeak:\t 9 kB\nVmRSS:\t  1234 kB\n"), Some(1234));
        assert_eq!(resident("Name: zombie\n"), None);
    }

    #[test]
    fn this_process_has_memory_and_a_missing_one_is_named() {
        let own = std::process::id();
        assert!(resident_kib(&[own, own]).expect("own memory") > 0);
        assert!(cpu_time(&[own]).is_ok());
        let error = cpu_time(&[own, u32::MAX]).expect_err("no such process");
        assert!(error.to_string().contains("--pid 4294967295"));
    }
}
