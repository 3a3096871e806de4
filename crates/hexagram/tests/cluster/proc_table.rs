//! The system's table of processes: who is whose child, and how much memory
//! one holds.

use std::fs;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    pub(crate) group: u32,
    pub(crate) state: char,
}

/// All processes, the dead that nobody has waited for left out.
pub(crate) fn all() -> Vec<Row> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| row(&fs::read_to_string(entry.path().join("stat")).ok()?))
        .filter(|row| row.state != 'Z')
        .collect()
}

/// `pid (name) state parent group ...`; the name may hold anything.
fn row(stat: &str) -> Option<Row> {
    let (pid, rest) = stat.split_once(' ')?;
    let mut fields = rest[rest.rfind(')')? + 1..].split_whitespace();
    Some(Row {
        pid: pid.parse().ok()?,
        state: fields.next()?.chars().next()?,
        parent: fields.next()?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
    })
}

/// The process groups of a process's children.
pub(crate) fn child_groups(pid: u32) -> Vec<u32> {
    let children = all().into_iter().filter(|row| row.parent == pid);
    children.map(|row| row.group).collect()
}

/// Who is left of these process groups.
pub(crate) fn members(groups: &[u32]) -> Vec<Row> {
    let rows = all().into_iter();
    rows.filter(|row| groups.contains(&row.group)).collect()
}

/// Resident memory in KiB.
pub(crate) fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.unwrap().parse().unwrap()
}
