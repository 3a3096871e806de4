//! `cargo xtask sim --faults`: whether the simulation finds mistakes that are built into
//! the product on purpose, each in a copy of the workspace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Selection, Told, build, play};
use crate::process;
use crate::progress::Task;
use crate::workspace::Workspace;

/// A mistake: a text of a file, and what stands there instead.
struct Fault {
    name: &'static str,
    file: &'static str,
    sound: &'static str,
    faulty: &'static str,
    /// One of these invariants says so.
    breaks: &'static [&'static str],
}

const FAULTS: [Fault; 10] = [
    Fault {
        name: "a failover takes the epoch that a move has reserved",
        file: "crates/core/src/handoff/entry.rs",
        sound: "let epoch = self.spent.next().ok_or(EntryError::Exhausted)?;\n        Ok(Self::new(to, epoch))",
        faulty: "let epoch = self.epoch.next().ok_or(EntryError::Exhausted)?;\n        Ok(Self::new(to, epoch))",
        breaks: &["I1", "I4"],
    },
    Fault {
        name: "an edge raises its epoch as a shard begins to move",
        file: "crates/core/src/handoff/route.rs",
        sound: "self.moving |= news;",
        faulty: "if news {\n            self.epoch = epoch.next();\n        }",
        breaks: &["I4", "I10", "Live"],
    },
    Fault {
        name: "a frozen shard goes on admitting",
        file: "crates/worker/src/shard.rs",
        sound: "Gate::Frozen(to) => Err(Some(to.clone())),",
        faulty: "Gate::Frozen(_) => Ok(Admission(gate)),",
        breaks: &["I1", "I2", "I5", "I6", "I8"],
    },
    Fault {
        name: "a grant leaves the deleted sessions out",
        file: "crates/worker/src/handoff/state.rs",
        sound: "dead: table.dead.words().map(dead_words).collect(),",
        faulty: "dead: table.dead.words().map(dead_words).skip(usize::MAX).collect(),",
        breaks: &["I12"],
    },
    Fault {
        name: "a session's log level is not carried",
        file: "crates/worker/src/record.rs",
        sound: "log_level: session.log_level().map(String::from).unwrap_or_default(),",
        faulty: "log_level: String::new(),",
        breaks: &["I2"],
    },
    Fault {
        name: "a change is acknowledged before it is stored",
        file: "crates/worker/src/ledger.rs",
        sound: "match ticket.await {",
        faulty: "drop(ticket);\n        match Ok::<(), Unwritten>(()) {",
        breaks: &["I2", "I12"],
    },
    Fault {
        name: "the store takes what an older owner writes",
        file: "crates/store/src/memory/kept.rs",
        sound: "let wrote = if head.epoch > group.epoch {\n        Wrote::Fenced(head.epoch)",
        faulty: "let wrote = if head.epoch > group.epoch {\n        return Judgement::Apply;",
        breaks: &["I2", "I12"],
    },
    Fault {
        name: "a call that may have run runs again",
        file: "crates/worker/src/forward/again.rs",
        sound: "false => Err(outcome_unknown()),",
        faulty: "false => Ok(()),",
        breaks: &["I3"],
    },
    Fault {
        name: "a worker ends before its shards are elsewhere",
        file: "crates/worker/src/handoff/handoffs.rs",
        sound: "self.membership.hands_over && (",
        faulty: "false && self.membership.hands_over && (",
        breaks: &["I11"],
    },
    Fault {
        name: "a dead worker's shards are left where they are",
        file: "crates/control/src/fleet.rs",
        sound: "    pub fn died(&mut self, owner: &Owner) {",
        faulty: "    pub fn died(&mut self, owner: &Owner) {\n        return;",
        breaks: &["Live", "I7", "I10"],
    },
];

/// What became of one.
struct Found {
    seed: u64,
    said: String,
}

/// Builds each fault in and plays seeds until one finds it; gives whether all were
/// found, each under an invariant that it breaks.
///
/// # Errors
/// When a fault has no place in the code any more, or cannot be built.
pub(super) fn command(workspace: &Workspace, selection: &Selection) -> Result<bool> {
    let copy = copied(workspace)?;
    let mut table = String::from("\n| fault | found after | as |\n|---|---|---|\n");
    let mut all = true;
    for fault in &FAULTS {
        let found = with_fault(&copy, fault, selection)?;
        all &= found.is_some();
        let (after, said) = match found {
            Some(found) => (format!("{} seeds", found.seed), found.said),
            None => ("NOT FOUND".to_owned(), format!("in {}", selection.seeds)),
        };
        table += &format!("| {} | {after} | {said} |\n", fault.name);
    }
    eprint!("{table}");
    Ok(all)
}

fn with_fault(copy: &Workspace, fault: &Fault, selection: &Selection) -> Result<Option<Found>> {
    let path = copy.root.join(fault.file);
    let sound = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    fs::write(&path, fault.built_in(&sound)?)?;
    let mut task = Task::start(fault.name);
    let built = process::require(build(copy), &mut task);
    let found = built.map(|_| find(&copy.target.join("debug/hexagram-sim"), fault, selection));
    fs::write(&path, sound)?;
    let found = found?;
    task.end(if found.is_some() {
        "found"
    } else {
        "NOT FOUND"
    });
    Ok(found)
}

/// The first seed that finds it.
fn find(program: &Path, fault: &Fault, selection: &Selection) -> Option<Found> {
    let told = play(program, selection).into_iter();
    let told = told.filter_map(Result::ok);
    told.filter_map(|told| fault.found_by(&told)).next()
}

impl Fault {
    fn built_in(&self, sound: &str) -> Result<String> {
        let times = sound.matches(self.sound).count();
        ensure!(
            times == 1,
            "{:?} has {times} places in {}: say in xtask/src/sim/faults.rs where it is now",
            self.name,
            self.file
        );
        Ok(sound.replacen(self.sound, self.faulty, 1))
    }

    fn found_by(&self, told: &Told) -> Option<Found> {
        let is_it = |said: &&String| self.breaks.iter().any(|name| said.starts_with(name));
        let said = told.violations.iter().find(is_it)?;
        let seed = told.seed;
        let said = said.clone();
        Some(Found { seed, said })
    }
}

/// All that is in version control, in a folder of its own that is built in a folder of
/// its own: cargo would take the one for the other.
fn copied(workspace: &Workspace) -> Result<Workspace> {
    let target = workspace.target.join("faults");
    let root = target.join("workspace");
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(&workspace.root)
        .output()
        .context("start git")?;
    let listed = String::from_utf8(listed.stdout).context("read what git lists")?;
    for file in listed.lines() {
        copy(&workspace.root.join(file), &root.join(file))?;
    }
    Ok(Workspace { root, target })
}

/// Copies a file that is not there, or is another.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let context = || format!("copy {}", from.display());
    let Ok(content) = fs::read(from) else {
        return Ok(());
    };
    if fs::read(to).is_ok_and(|there| there == content) {
        return Ok(());
    }
    let folder: PathBuf = to.parent().map(Path::to_owned).unwrap_or_default();
    fs::create_dir_all(folder).with_context(context)?;
    fs::write(to, content).with_context(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_has_its_place_in_the_code() {
        let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
        let root = Path::new(&package).join("../..");
        for fault in &FAULTS {
            let sound = fs::read_to_string(root.join(fault.file)).unwrap();
            assert_ne!(fault.built_in(&sound).unwrap(), sound, "{}", fault.name);
        }
    }
}
