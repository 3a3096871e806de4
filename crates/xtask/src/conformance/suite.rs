//! One run of the suite: a revision's requirements, or a single scenario.

use std::fmt::{Display, Formatter};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::ValueEnum;

use super::report::Report;
use crate::cache::Cache;
use crate::progress::Task;
use crate::{process, tools};

/// Milliseconds that one scenario may take.
const TIMEOUT: &str = "60000";

/// A revision whose requirements the suite knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Revision {
    /// The last legacy one.
    #[value(name = "2025-11-25")]
    Legacy,
    /// The first modern one.
    #[value(name = "2026-07-28")]
    Modern,
}

impl Revision {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "2025-11-25",
            Self::Modern => "2026-07-28",
        }
    }

    /// Scenarios of extensions that are in no revision's requirements.
    const fn extras(self) -> &'static [&'static str] {
        match self {
            Self::Legacy => &[],
            Self::Modern => &[
                "sep-2640-skills-directory",
                "sep-2640-skills-enumeration",
                "sep-2640-skills-manifest",
            ],
        }
    }
}

impl Display for Revision {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is run and against what.
pub(super) struct Run<'a> {
    pub(super) url: &'a str,
    pub(super) revision: Revision,
    /// One scenario; the revision's requirements and the unscored ones without.
    pub(super) scenario: Option<&'a str>,
    /// Where results go; emptied before.
    pub(super) results: &'a Path,
}

impl Run<'_> {
    /// Runs it to its end. Checks that fail are in the report, which is empty
    /// for a scenario that this revision does not have.
    ///
    /// # Errors
    /// When the suite itself fails; its output was printed then.
    pub(super) fn run(&self, cache: &Cache, task: &mut Task) -> Result<Report> {
        if self.results.exists() {
            fs::remove_dir_all(self.results)
                .with_context(|| format!("empty {}", self.results.display()))?;
        }
        let mut lines = Vec::new();
        for what in self.parts() {
            lines.extend(self.call(&what, cache, task)?);
        }
        if is_skipped(&lines) {
            return Ok(Report::default());
        }
        Report::read(self.results)
            .inspect_err(|_| task.print(lines.iter().map(String::as_str)))
            .context("run the suite")
    }

    /// The arguments of each call of the suite.
    fn parts(&self) -> Vec<Vec<String>> {
        let revision = self.revision.to_string();
        let requirements = vec!["--requirements".to_owned(), revision.clone()];
        let one = |name: &str| vec!["--scenario".to_owned(), name.to_owned()];
        match self.scenario {
            Some(name) if self.revision.extras().contains(&name) => vec![one(name)],
            Some(name) => vec![[one(name), vec!["--spec-version".to_owned(), revision]].concat()],
            None => {
                let extras = self.revision.extras().iter().map(|name| one(name));
                std::iter::once(requirements).chain(extras).collect()
            }
        }
    }

    /// A failing check is an exit code like any other, so the code says nothing.
    fn call(&self, what: &[String], cache: &Cache, task: &mut Task) -> Result<Vec<String>> {
        let mut command = tools::suite(cache)?;
        command
            .args(["server", "--url", self.url, "--timeout", TIMEOUT])
            .args(what)
            .arg("--output-dir")
            .arg(self.results);
        Ok(process::run(command, task)?.lines)
    }
}

/// Whether the suite refused the one scenario asked for.
fn is_skipped(lines: &[String]) -> bool {
    lines
        .iter()
        .any(|line| line.starts_with("SKIPPED: scenario "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(revision: Revision, scenario: Option<&str>) -> Vec<String> {
        let run = Run {
            url: "",
            revision,
            scenario,
            results: Path::new(""),
        };
        run.parts().iter().map(|part| part.join(" ")).collect()
    }

    #[test]
    fn runs_requirements_and_extensions() {
        let legacy = parts(Revision::Legacy, None);
        assert_eq!(legacy, ["--requirements 2025-11-25"]);
        let modern = parts(Revision::Modern, None);
        assert_eq!(modern[0], "--requirements 2026-07-28");
        assert!(modern.contains(&"--scenario sep-2640-skills-manifest".to_owned()));
    }

    #[test]
    fn runs_one_scenario_in_its_revision() {
        let ping = parts(Revision::Legacy, Some("ping"));
        assert_eq!(ping, ["--scenario ping --spec-version 2025-11-25"]);
        // Extensions belong to no revision: the suite skips them in any.
        let skills = parts(Revision::Modern, Some("sep-2640-skills-manifest"));
        assert_eq!(skills, ["--scenario sep-2640-skills-manifest"]);
    }

    #[test]
    fn a_scenario_of_another_revision_is_no_failure() {
        let refused = "SKIPPED: scenario 'ping' is not applicable at spec version 2026-07-28";
        assert!(is_skipped(&["Running".into(), refused.into()]));
        assert!(!is_skipped(&["[a-check] SKIPPED: later".into()]));
    }
}
