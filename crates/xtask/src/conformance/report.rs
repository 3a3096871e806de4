//! What the suite found, from the files that it writes: one folder a scenario,
//! with a `checks.json` in it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::tally::Tally;

/// The checks of one run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// How many passed.
    pub(super) passed: u64,
    /// Those that failed, each as `scenario check: why`.
    pub(super) failed: Vec<String>,
    /// What should be otherwise but need not, in the same form.
    pub(super) warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    id: String,
    status: Status,
    #[serde(default)]
    error_message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Status {
    Success,
    Failure,
    Warning,
    Info,
    Skipped,
}

impl Report {
    /// Reads the folders of all scenarios that ran.
    ///
    /// # Errors
    /// When they cannot be read, or are not as the pinned suite writes them.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let mut folders = fs::read_dir(folder)
            .with_context(|| format!("read {}: did the suite run?", folder.display()))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<Vec<_>>>()?;
        folders.sort();
        let mut report = Self::default();
        for folder in folders {
            report.add(&folder)?;
        }
        Ok(report)
    }

    /// Its counts.
    pub(super) fn tally(&self) -> Tally {
        Tally {
            passed: self.passed,
            failed: self.failed.len() as u64,
        }
    }

    fn add(&mut self, folder: &Path) -> Result<()> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let scenario = scenario(&name);
        let file = folder.join("checks.json");
        // The folder is made before the scenario runs, the file after it.
        if !file.exists() {
            self.failed.push(format!("{scenario}: it broke off"));
            return Ok(());
        }
        let read = || anyhow::Ok(serde_json::from_slice(&fs::read(&file)?)?);
        let checks: Vec<Check> = read().with_context(|| format!("read {}", file.display()))?;
        for check in checks {
            self.count(scenario, &check);
        }
        Ok(())
    }

    fn count(&mut self, scenario: &str, check: &Check) {
        let line = || format!("{scenario} {}: {}", check.id, check.error_message);
        match check.status {
            Status::Success => self.passed += 1,
            Status::Failure => self.failed.push(line()),
            Status::Warning => self.warnings.push(line()),
            Status::Info | Status::Skipped => {}
        }
    }
}

/// The scenario of a folder called `server-<scenario>-<time>`.
fn scenario(folder: &str) -> &str {
    let name = folder.strip_prefix("server-").unwrap_or(folder);
    let time = "-2026-11-23T21-19-07-189Z".len();
    let end = name.len().saturating_sub(time);
    match name.get(end..) {
        Some(time) if time.starts_with('-') && time.ends_with('Z') => &name[..end],
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, scenario: &str, checks: &str) {
        let folder = folder.join(format!("server-{scenario}-2026-11-23T21-19-07-189Z"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("checks.json"), checks).unwrap();
    }

    #[test]
    fn counts_what_passed_and_names_what_did_not() {
        let temp = tempfile::tempdir().unwrap();
        let ping = r#"[
            {"id": "ping", "name": "Ping", "status": "SUCCESS", "details": {}},
            {"id": "late", "status": "FAILURE", "errorMessage": "no answer"},
            {"id": "odd", "status": "WARNING", "errorMessage": "no retry"},
            {"id": "seen", "status": "INFO"},
            {"id": "left", "status": "SKIPPED"}
        ]"#;
        write(temp.path(), "ping", ping);
        write(temp.path(), "a-b", r#"[{"id": "x", "status": "SUCCESS"}]"#);
        let report = Report::read(temp.path()).unwrap();
        let expected = Report {
            passed: 2,
            failed: vec!["ping late: no answer".into()],
            warnings: vec!["ping odd: no retry".into()],
        };
        assert_eq!(report, expected);
    }

    #[test]
    fn a_scenario_without_a_result_failed() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp
            .path()
            .join("server-tools-list-2026-11-23T21-19-07-189Z");
        fs::create_dir(folder).unwrap();
        let report = Report::read(temp.path()).unwrap();
        assert_eq!(report.failed, ["tools-list: it broke off"]);
    }

    #[test]
    fn what_the_suite_does_not_write_is_an_error() {
        let temp = tempfile::tempdir().unwrap();
        assert!(Report::read(&temp.path().join("nothing")).is_err());
        write(
            temp.path(),
            "ping",
            r#"[{"id": "ping", "status": "MAYBE"}]"#,
        );
        assert!(Report::read(temp.path()).is_err());
    }
}
