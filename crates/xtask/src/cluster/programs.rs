//! The programs that make and reach a cluster: used when they are there, never installed.

use anyhow::{Result, bail};

use crate::tools;

/// A program and where to learn how to install it.
struct Program {
    name: &'static str,
    guide: &'static str,
}

const PROGRAMS: [Program; 4] = [
    program("docker", "https://docs.docker.com/engine/install"),
    program("kind", "https://kind.sigs.k8s.io/docs/user/quick-start"),
    program("kubectl", "https://kubernetes.io/docs/tasks/tools"),
    program("helm", "https://helm.sh/docs/intro/install"),
];

const fn program(name: &'static str, guide: &'static str) -> Program {
    Program { name, guide }
}

/// Checks that all four are there.
///
/// # Errors
/// Naming those that are missing and how to get them.
pub(crate) fn require() -> Result<()> {
    refuse(&PROGRAMS.iter().filter(is_missing).collect::<Vec<_>>())
}

/// Checks that those of the four are there.
///
/// # Errors
/// As [`require`].
pub(crate) fn require_these(names: &[&str]) -> Result<()> {
    let needed = |program: &&Program| names.contains(&program.name);
    let missing = PROGRAMS.iter().filter(needed).filter(is_missing);
    refuse(&missing.collect::<Vec<_>>())
}

/// The names of those that are missing.
pub(crate) fn missing() -> Vec<&'static str> {
    let missing = PROGRAMS.iter().filter(is_missing);
    missing.map(|program| program.name).collect()
}

fn is_missing(program: &&Program) -> bool {
    tools::on_path(program.name).is_none()
}

fn refuse(missing: &[&Program]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let line = |program: &&Program| format!("\n  {}: {}", program.name, program.guide);
    let lines: String = missing.iter().map(line).collect();
    bail!("not on the path, install and run again:{lines}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_guide() {
        let error = refuse(&[&PROGRAMS[1], &PROGRAMS[3]]).unwrap_err();
        let expected = "not on the path, install and run again:\
            \n  kind: https://kind.sigs.k8s.io/docs/user/quick-start\
            \n  helm: https://helm.sh/docs/intro/install";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn nothing_missing_is_fine() {
        assert!(refuse(&[]).is_ok());
    }
}
